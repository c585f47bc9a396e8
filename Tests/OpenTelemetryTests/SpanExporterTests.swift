import Foundation
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
@testable import OpenTelemetry
import ServiceLifecycle
import Synchronization
import Testing
import Tracing

struct SpanExporterTests {
    @Test func `spans of a trace arrive as the protocol says`() async throws {
        let collector = try await Collector.start()
        try await run(collector) { tracer in
            var context = ServiceContext.topLevel
            tracer.extract(
                ["traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
                into: &context,
                using: Dictionaries()
            )
            let parent = tracer.startSpan("deploy", context: context, ofKind: .server)
            let child = tracer.startSpan("check", context: parent.context)
            child.attributes["app"] = "guestbook"
            child.attributes["bytes"] = 7
            child.recordError(CancellationError())
            child.setStatus(SpanStatus(code: .error, message: "stopped"))
            child.end()
            child.operationName = "too late"
            parent.end()
            parent.end()
            var headers: [String: String] = [:]
            tracer.inject(child.context, into: &headers, using: Dictionaries())
            #expect(headers["traceparent"]?.hasPrefix("00-0af7651916cd43dd8448eb211c80319c-") == true)
        }
        let request = try #require(collector.requests.first)
        #expect(collector.requests.count == 1)
        #expect(request.path == "/v1/traces")
        #expect(request.headers["content-type"] == ["application/json"])
        #expect(request.headers["authorization"] == ["Bearer x"])
        let spans = request.spans
        #expect(spans.map { $0["name"] as? String } == ["check", "deploy"])
        #expect(spans.allSatisfy { $0["traceId"] as? String == "0af7651916cd43dd8448eb211c80319c" })
        #expect(spans[1]["parentSpanId"] as? String == "b7ad6b7169203331")
        #expect(spans[0]["parentSpanId"] as? String == spans[1]["spanId"] as? String)
        #expect(spans.map { $0["kind"] as? Int } == [1, 2])
        #expect((spans[0]["status"] as? [String: Any])?["code"] as? Int == 2)
        #expect((spans[0]["events"] as? [[String: Any]])?.first?["name"] as? String == "exception")
        let attributes = try #require(spans[0]["attributes"] as? [[String: Any]])
        #expect(attributes.map { $0["key"] as? String } == ["app", "bytes"])
        #expect((attributes[1]["value"] as? [String: Any])?["intValue"] as? String == "7")
        let (start, end) = (spans[0]["startTimeUnixNano"] as? String, spans[0]["endTimeUnixNano"] as? String)
        #expect(try #require(start.flatMap(UInt64.init)) <= #require(end.flatMap(UInt64.init)))
        #expect(request.service == "birds")
    }

    @Test func `a collector that is busy gets the same spans again`() async throws {
        let collector = try await Collector.start(answers: [.serviceUnavailable, .tooManyRequests])
        try await run(collector) { tracer in
            tracer.startSpan("one", context: .topLevel, ofKind: .internal).end()
            tracer.forceFlush()
            while collector.requests.count < 3 { try await Task.sleep(for: .milliseconds(10)) }
        }
        #expect(collector.requests.map { $0.spans.count } == [1, 1, 1])
    }

    @Test func `a collector that refuses, or is not there, costs nothing but the spans`() async throws {
        let collector = try await Collector.start(answers: [.badRequest])
        try await run(collector) { tracer in
            tracer.startSpan("bad", context: .topLevel, ofKind: .internal).end()
            tracer.forceFlush()
            while collector.requests.isEmpty { try await Task.sleep(for: .milliseconds(10)) }
            tracer.startSpan("good", context: .topLevel, ofKind: .internal).end()
        }
        #expect(collector.requests.map { $0.spans.first?["name"] as? String } == ["bad", "good"])
        try await collector.close()
        try await run(collector) { tracer in
            tracer.startSpan("lost", context: .topLevel, ofKind: .internal).end()
        }
    }

    @Test func `what a program asks on its own account is no trace, and a full buffer drops`() {
        let buffer = SpanBuffer(limit: 3, batch: 2)
        let tracer = OTLPTracer(sampler: Sampler(ratio: 1, followsParent: true), buffer: buffer)
        let own = tracer.startSpan("GET", context: .topLevel, ofKind: .client)
        #expect(!own.isRecording)
        tracer.startSpan("below", context: own.context, ofKind: .internal).end()
        own.end()
        #expect(buffer.take().isEmpty)
        for _ in 0..<5 { tracer.startSpan("a", context: .topLevel, ofKind: .internal).end() }
        #expect(buffer.take().count == 2)
        #expect(buffer.take().count == 1)
        #expect(buffer.takeDropped() == 2)
    }

    /// Runs an exporter beside the body, and ends it so that what waits is sent.
    private func run(_ collector: Collector, _ body: (OTLPTracer) async throws -> Void) async throws {
        let reading = TelemetrySettings.read(
            [
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:\(collector.port)",
                "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20x", "OTEL_SERVICE_NAME": "birds",
                "OTEL_BSP_SCHEDULE_DELAY": "600000",
            ],
            service: "none"
        )
        let exporter = SpanExporter(
            try #require(reading.settings),
            version: "1",
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        let (started, start) = AsyncStream.makeStream(of: Void.self)
        let group = ServiceGroup(services: [exporter, Start(start: start)], logger: Logger(label: "test"))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            for await _ in started { break }
            do { try await body(exporter.tracer) } catch {
                await group.triggerGracefulShutdown()
                throw error
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }
}

/// Says that the services of a group run: one that is shut down before has run none.
private struct Start: Service {
    let start: AsyncStream<Void>.Continuation

    func run() async throws {
        start.yield()
        try await gracefulShutdown()
    }
}

private struct Dictionaries: Extractor, Injector {
    func extract(key: String, from carrier: [String: String]) -> String? { carrier[key] }
    func inject(_ value: String, forKey key: String, into carrier: inout [String: String]) {
        carrier[key] = value
    }
}

/// A server that notes what it is sent.
private final class Collector: Sendable {
    struct Request: Sendable {
        var path: String
        var headers: HTTPHeaders
        var body: Data

        private var resource: [String: Any] {
            let document = (try? JSONSerialization.jsonObject(with: body)) as? [String: Any]
            return (document?["resourceSpans"] as? [[String: Any]])?.first ?? [:]
        }

        var spans: [[String: Any]] {
            (resource["scopeSpans"] as? [[String: Any]])?.first?["spans"] as? [[String: Any]] ?? []
        }

        var service: String? {
            let attributes = (resource["resource"] as? [String: Any])?["attributes"] as? [[String: Any]]
            return
                (attributes?.first { $0["key"] as? String == "service.name" }?["value"] as? [String: Any])?[
                    "stringValue"
                ] as? String
        }
    }

    private let state: Mutex<(requests: [Request], answers: [HTTPResponseStatus])>
    private let channel: Mutex<(any Channel)?> = Mutex(nil)

    private init(_ answers: [HTTPResponseStatus]) { state = Mutex(([], answers)) }

    var requests: [Request] { state.withLock { $0.requests } }
    var port: Int { channel.withLock { $0?.localAddress?.port } ?? 1 }

    static func start(answers: [HTTPResponseStatus] = []) async throws -> Collector {
        let collector = Collector(answers)
        let channel = try await ServerBootstrap(group: NIOSingletons.posixEventLoopGroup)
            .childChannelInitializer { channel in
                channel.pipeline.configureHTTPServerPipeline().flatMapThrowing {
                    try channel.pipeline.syncOperations.addHandler(Handler(collector))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        collector.channel.withLock { $0 = channel }
        return collector
    }

    func close() async throws { try await channel.withLock { $0 }?.close().get() }

    private func answer(_ request: Request) -> HTTPResponseStatus {
        state.withLock { state in
            state.requests.append(request)
            return state.answers.isEmpty ? .ok : state.answers.removeFirst()
        }
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let collector: Collector
        private var request: Request?

        init(_ collector: Collector) { self.collector = collector }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head): request = Request(path: head.uri, headers: head.headers, body: Data())
            case .body(let buffer): request?.body.append(contentsOf: buffer.readableBytesView)
            case .end:
                guard let request else { return }
                let status = collector.answer(request)
                let head = HTTPResponseHead(
                    version: .http1_1,
                    status: status,
                    headers: ["content-length": "0"]
                )
                context.write(wrapOutboundOut(.head(head)), promise: nil)
                context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
            }
        }
    }
}
