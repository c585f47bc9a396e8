import AsyncHTTPClient
import Foundation
package import Logging
import NIOCore
import NIOHTTP1
import ServiceLifecycle
import Tracing

/// Sends ended spans to a collector, until the service is shut down; what waits then is sent once more.
///
/// A collector that does not answer costs a bounded queue and a warning now and then, never an operation.
package struct SpanExporter: Service {
    private let settings: TelemetrySettings
    private let version: String
    private let buffer: SpanBuffer
    private let logger: Logger

    /// What answers that ask for patience get, besides the pauses between them.
    private static let attempts = 4
    /// What is left at the end gets this long.
    private static let lastTime = Duration.seconds(5)

    /// `version`: of the program.
    package init(_ settings: TelemetrySettings, version: String, logger: Logger) {
        self.settings = settings
        self.version = version
        self.logger = logger
        buffer = SpanBuffer(limit: settings.queueLimit, batch: settings.batchLimit)
    }

    package var tracer: OTLPTracer { OTLPTracer(sampler: settings.sampler, buffer: buffer) }

    package func run() async throws {
        await withTaskCancellationOrGracefulShutdownHandler {
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await tick() }
                var warnings = WarningPace()
                for await _ in buffer.signals { await sendAll(&warnings, attempts: Self.attempts) }
                group.cancelAll()
            }
            // In a task of its own: this one may have been cancelled, and the rest is to be sent all the same.
            await Task { await sendLast() }.value
        } onCancelOrGracefulShutdown: {
            buffer.finish()
        }
    }

    private func sendLast() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                var warnings = WarningPace()
                await sendAll(&warnings, attempts: 1)
            }
            group.addTask { try? await Task.sleep(for: Self.lastTime) }  // Cancelled when all is sent.
            await group.next()
            group.cancelAll()
        }
    }

    private func tick() async {
        while (try? await Task.sleep(for: settings.delay)) != nil { buffer.wake() }
    }

    private func sendAll(_ warnings: inout WarningPace, attempts: Int) async {
        while !Task.isCancelled {
            let spans = buffer.take()
            guard !spans.isEmpty else { break }
            do {
                try await send(spans, attempts: attempts)
            } catch {
                warnings.lost(spans.count, because: "\(error)")
            }
        }
        let dropped = buffer.takeDropped()
        if dropped > 0 { warnings.lost(dropped, because: "more than \(settings.queueLimit) waited") }
        if let (count, reason) = warnings.due() {
            logger.warning("spans were not sent", metadata: ["spans": "\(count)", "because": "\(reason)"])
        }
    }

    private func send(_ spans: [RecordedSpan.Ended], attempts: Int) async throws {
        let document = TraceDocument(
            spans,
            service: settings.service,
            version: version,
            resource: settings.resource
        )
        var request = HTTPClientRequest(url: settings.endpoint.absoluteString)
        request.method = .POST
        for (name, value) in settings.headers { request.headers.replaceOrAdd(name: name, value: value) }
        request.headers.replaceOrAdd(name: "Content-Type", value: "application/json")
        request.body = .bytes(ByteBuffer(bytes: try document.encoded()))
        var pause = Duration.milliseconds(500)
        for attempt in 1...attempts {
            do {
                let response = try await HTTPClient.shared.execute(
                    request,
                    timeout: .nanoseconds(Int64(settings.timeout / .nanoseconds(1)))
                )
                _ = try await response.body.collect(upTo: 1 << 20)
                if (200..<300).contains(response.status.code) { return }
                let failure = Failure.refused(response.status.code)
                guard Self.passing.contains(response.status.code), attempt < attempts else { throw failure }
                if let seconds = response.headers.first(name: "Retry-After").flatMap(Int.init) {
                    pause = max(pause, .seconds(min(seconds, 30)))
                }
            } catch let failure as Failure {
                throw failure
            } catch {
                guard attempt < attempts else { throw error }
            }
            try await Task.sleep(for: pause)
            pause *= 2
        }
    }

    /// The answers after which the protocol lets a client try again.
    private static let passing: Set<UInt> = [429, 502, 503, 504]

    private enum Failure: Error, CustomStringConvertible {
        case refused(UInt)

        var description: String {
            switch self {
            case .refused(let status): "the collector answered \(status)"
            }
        }
    }
}

/// Says at most once a minute that something was lost.
struct WarningPace {
    private var count = 0
    private var reason = ""
    private var last: ContinuousClock.Instant?

    mutating func lost(_ count: Int, because reason: String) {
        self.count += count
        self.reason = reason
    }

    mutating func due(now: ContinuousClock.Instant = .now) -> (count: Int, reason: String)? {
        guard count > 0, last.map({ now - $0 >= .seconds(60) }) ?? true else { return nil }
        defer { count = 0 }
        last = now
        return (count, reason)
    }
}
