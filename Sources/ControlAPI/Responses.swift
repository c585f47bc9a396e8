import Control
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

extension Response {
    /// A value as JSON, one line.
    static func json(_ value: some Encodable, status: HTTPResponse.Status = .ok) throws -> Response {
        var data = try JSONFormat.encoder().encode(value)
        data.append(UInt8(ascii: "\n"))
        return Response(
            status: status,
            headers: [.contentType: "application/json", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: data))
        )
    }

    /// An error as `application/problem+json`.
    static func problem(_ error: MartletError) -> Response {
        let problem = Problem(error)
        // A struct of strings and numbers can always be encoded.
        var data = (try? JSONFormat.encoder().encode(problem)) ?? Data()
        data.append(UInt8(ascii: "\n"))
        var headers: HTTPFields = [.contentType: "application/problem+json", .cacheControl: "no-store"]
        switch error.code {
        case .unauthorized: headers[.wwwAuthenticate] = "Bearer realm=\"martlet\""
        case .unavailable: headers[.retryAfter] = "1"
        default: break
        }
        return Response(
            status: HTTPResponse.Status(code: problem.status),
            headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: data))
        )
    }

    static func plain(_ text: String, status: HTTPResponse.Status = .ok, type: String) -> Response {
        Response(
            status: status,
            headers: [.contentType: type, .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text))
        )
    }
}

extension Request {
    /// Whether a browser asks, which wants a page rather than JSON.
    var prefersHTML: Bool { headers[.accept]?.contains("text/html") == true }

    /// Reads a JSON body.
    ///
    /// - Throws: ``MartletError`` with code `bad_request` or `too_large`.
    func decode<Value: Decodable>(_: Value.Type, upTo limitBytes: Int) async throws -> Value {
        let buffer: ByteBuffer
        do {
            buffer = try await body.collect(upTo: limitBytes)
        } catch is NIOTooManyBytesError {
            throw MartletError(.tooLarge, "the body has more than \(ByteCount.format(limitBytes))")
        }
        do {
            return try JSONFormat.decoder().decode(Value.self, from: Data(buffer.readableBytesView))
        } catch DecodingError.dataCorrupted(let context) {
            throw MartletError(
                .badRequest,
                "the JSON of the body cannot be used: \(context.debugDescription)"
            )
        } catch DecodingError.keyNotFound(let key, _) {
            throw MartletError(.badRequest, "the JSON of the body lacks \"\(key.stringValue)\"")
        } catch {
            throw MartletError(.badRequest, "the JSON of the body has another shape than this request takes")
        }
    }
}
