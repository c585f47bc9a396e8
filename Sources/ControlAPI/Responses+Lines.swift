import Control
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

extension Response {
    /// Values as JSON, one a line (`application/x-ndjson`), with empty lines as signs of life.
    ///
    /// `produce` runs as ``withHeartbeat(every:produce:)`` says.
    static func lines<Line: Encodable & Sendable>(
        every heartbeat: Duration?,
        produce: @escaping @Sendable (AsyncStream<Line?>.Continuation) async -> Void
    ) -> Response {
        let body = ResponseBody { writer in
            let encoder = JSONFormat.encoder()
            for await line in withHeartbeat(every: heartbeat, produce: produce) {
                var data = try line.map(encoder.encode) ?? Data()
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
}
