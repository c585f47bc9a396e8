import Control
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// The log of an app as JSON lines; one that is followed has empty lines as signs of life.
struct LogRoutes {
    let service: any ApplicationService
    let heartbeat: Duration

    func add(to group: RouterGroup<APIContext>) {
        let service = service
        let heartbeat = heartbeat
        group.get("apps/:app/logs") { request, context in
            let query = request.uri.queryParameters
            let since = try query["since"].map { text in
                guard let date = JSONFormat.date(String(text)) else {
                    throw MartletError(
                        .badRequest,
                        "since=\(text) is no time; write it as 2026-11-24T06:15:04Z"
                    )
                }
                return date
            }
            let isFollowed = query["follow"].map { $0 != "false" } ?? false
            let records = try await service.logs(of: try context.app(), since: since, follow: isFollowed)
            return Self.stream(records, heartbeat: isFollowed ? heartbeat : nil)
        }
    }

    private static func stream(
        _ records: AsyncThrowingStream<LogRecord, any Error>,
        heartbeat: Duration?
    ) -> Response {
        let body = ResponseBody { writer in
            let items: AsyncStream<Item?> = withHeartbeat(every: heartbeat) { continuation in
                do {
                    for try await record in records { continuation.yield(.record(record)) }
                } catch let error as MartletError {
                    continuation.yield(.failure(error))
                } catch is CancellationError {
                    return
                } catch {
                    continuation.yield(
                        .failure(MartletError(.internal, "reading the log failed", cause: error))
                    )
                }
            }
            let encoder = JSONFormat.encoder()
            for await item in items {
                var data =
                    switch item {
                    case .record(let record): try encoder.encode(record)
                    case .failure(let error): try encoder.encode(["error": Problem(error)])
                    case nil: Data()
                    }
                data.append(UInt8(ascii: "\n"))
                try await writer.write(ByteBuffer(bytes: data))
            }
            try await writer.finish(nil)
        }
        return Response(
            status: .ok,
            headers: [.contentType: "application/x-ndjson", .cacheControl: "no-store"],
            body: body
        )
    }

    private enum Item: Sendable {
        case record(LogRecord)
        case failure(MartletError)
    }
}
