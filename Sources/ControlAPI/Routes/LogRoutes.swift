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
        .lines(every: heartbeat) { (lines: AsyncStream<Line?>.Continuation) in
            do {
                for try await record in records { lines.yield(.record(record)) }
            } catch let error as MartletError {
                lines.yield(.failure(error))
            } catch is CancellationError {
                return
            } catch {
                lines.yield(.failure(MartletError(.internal, "reading the log failed", cause: error)))
            }
        }
    }

    private enum Line: Encodable, Sendable {
        case record(LogRecord)
        case failure(MartletError)

        func encode(to encoder: any Encoder) throws {
            switch self {
            case .record(let record): try record.encode(to: encoder)
            case .failure(let error): try ["error": Problem(error)].encode(to: encoder)
            }
        }
    }
}
