import AsyncHTTPClient
import FoundationEssentials
import NIOCore
import NIOHTTP1
import Storage

/// Speaks to a running Litestream over its control socket: HTTP with JSON bodies on a unix socket.
struct LitestreamControl: Sendable {
    /// An answer other than 200, or none.
    struct Failure: Error, CustomStringConvertible {
        /// Nil when there was no answer: Litestream is not running, or hangs.
        let status: Int?
        let message: String

        var isDatabaseUnknown: Bool { status == 404 }
        var isSocketDead: Bool { status == nil }
        var isDiskFull: Bool { message.contains("no space left") || message.contains("disk is full") }
        var description: String { status.map { "Litestream answered \($0): \(message)" } ?? message }
    }

    struct SyncAnswer: Decodable, Sendable {
        let status: String
        let txid: UInt64
        let replicated_txid: UInt64
    }

    private struct Path: Codable {
        var path: String
        var replica_url: String?
        var wait: Bool?
        /// In seconds.
        var timeout: Int?
    }

    private struct Problem: Decodable { let error: String }

    private struct Registered: Decodable { let status: String }

    private struct Unregistered: Decodable { let txid: UInt64 }

    private struct Info: Decodable { let version: String }

    /// Each database has at most one call under way; more of them than this wait for a connection.
    private let client = OwnedHTTPClient(connections: 512)
    private let base: String

    init(socket: String) {
        let digits = Array("0123456789ABCDEF".utf8)
        let encoded = socket.utf8.flatMap { [UInt8(ascii: "%"), digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
        base = "http+unix://" + String(decoding: encoded, as: UTF8.self)
    }

    /// The version of the program.
    func version() async throws -> String {
        let info: Info = try await call(.GET, "/info", nil, timeout: .seconds(5))
        return info.version
    }

    /// Tells Litestream of a database.
    ///
    /// Nothing is replicated yet when it answers.
    func register(_ path: String, url: String) async throws {
        let _: Registered = try await call(
            .POST,
            "/register",
            Path(path: path, replica_url: url),
            timeout: .seconds(15)
        )
    }

    /// Waits until all that was committed before is in the replica.
    func sync(_ path: String, timeoutSeconds: Int) async throws -> SyncAnswer {
        try await call(
            .POST,
            "/sync",
            Path(path: path, wait: true, timeout: timeoutSeconds),
            timeout: .seconds(timeoutSeconds + 5)
        )
    }

    /// Replicates what is left, forgets the database, and gives its last transaction.
    func unregister(_ path: String, timeoutSeconds: Int) async throws -> UInt64 {
        let answer: Unregistered = try await call(
            .POST,
            "/unregister",
            Path(path: path, timeout: timeoutSeconds),
            timeout: .seconds(timeoutSeconds + 5)
        )
        return answer.txid
    }

    private func call<Answer: Decodable>(
        _ method: HTTPMethod,
        _ name: String,
        _ body: Path?,
        timeout: Duration
    ) async throws -> Answer {
        var request = HTTPClientRequest(url: base + name)
        request.method = method
        request.headers.add(name: "host", value: "litestream")
        if let body {
            request.headers.add(name: "content-type", value: "application/json")
            request.body = .bytes(ByteBuffer(bytes: try JSONEncoder().encode(body)))
        }
        let status: Int
        let bytes: ByteBuffer
        do {
            let response = try await client.client.execute(
                request,
                timeout: .seconds(timeout.components.seconds)
            )
            status = Int(response.status.code)
            bytes = try await response.body.collect(upTo: 1 << 20)
        } catch {
            throw Failure(status: nil, message: "Litestream did not answer \(name) on its socket: \(error)")
        }
        let data = Data(bytes.readableBytesView)
        guard status == 200 else {
            // Else the text as it is.
            let problem = (try? JSONDecoder().decode(Problem.self, from: data))?.error
            throw Failure(status: status, message: problem ?? String(buffer: bytes))
        }
        do {
            return try JSONDecoder().decode(Answer.self, from: data)
        } catch {
            throw Failure(
                status: status,
                message: "\(name): an answer that is not understood: \(String(buffer: bytes))"
            )
        }
    }
}
