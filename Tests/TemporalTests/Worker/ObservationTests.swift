import Foundation
import FoundationNetworking
import InMemoryTracing
import Instrumentation
import Metrics
import MetricsTestKit
import SwiftProtobuf
import Temporal
import TemporalAPI
import TemporalTesting
import Testing
import Tracing

/// What this process measures and traces; both can be set up once only.
private let metrics: TestMetrics = {
    let metrics = TestMetrics()
    MetricsSystem.bootstrap(metrics)
    return metrics
}()

private let tracer: InMemoryTracer = {
    let tracer = InMemoryTracer()
    InstrumentationSystem.bootstrap(tracer)
    return tracer
}()

/// Turns every byte round: enough to see whether something has passed a codec.
private struct Mirrored: PayloadCodec {
    func encode(_ payloads: [APIPayload]) async throws -> [APIPayload] {
        payloads.map { payload in
            .with {
                $0.metadata = payload.metadata.merging(["mirrored": Data("yes".utf8)]) { $1 }
                $0.data = Data(payload.data.map { ~$0 })
            }
        }
    }

    func decode(_ payloads: [APIPayload]) async throws -> [APIPayload] {
        try payloads.map { payload in
            guard payload.metadata["mirrored"] != nil else {
                throw ApplicationFailure("a payload has not passed the codec", type: "Plain")
            }
            return .with {
                $0.metadata = payload.metadata.filter { $0.key != "mirrored" }
                $0.data = Data(payload.data.map { ~$0 })
            }
        }
    }
}

@Suite struct `Worker observation` {
    @Test func `a trace leads from the client through the workflow to its activities`() async throws {
        let tracer = tracer
        try await WorkerFixture.with(workflows: [Approval.self], activities: Sample.activities) { fixture in
            let trace = try await withSpan("test") { span in
                let handle = try await fixture.client.start(
                    Approval.self,
                    input: "Ada",
                    options: fixture.options()
                )
                try await handle.signal(Approval.approve, input: true)
                _ = try await handle.result()
                return span.context.inMemorySpanContext?.traceID
            }
            let spans = tracer.finishedSpans.filter { $0.traceID == trace }
            let names = spans.map(\.operationName).sorted()
            #expect(
                names == [
                    "RunActivity:greet", "RunActivity:greet", "SignalWorkflow:approve",
                    "StartWorkflow:Approval", "test",
                ]
            )
            let start = spans.first { $0.operationName == "StartWorkflow:Approval" }
            let activity = spans.first { $0.operationName == "RunActivity:greet" }
            #expect(activity?.parentSpanID == start?.spanID)
        }
    }

    @Test func `metrics have the names of the official SDKs`() async throws {
        let metrics = metrics
        try await WorkerFixture.with(
            workflows: [Approval.self, Failing.self],
            activities: Sample.activities
        ) { fixture in
            let handle = try await fixture.client.start(
                Approval.self,
                input: "Ada",
                options: fixture.options()
            )
            try await handle.signal(Approval.approve, input: true)
            _ = try await handle.result()
            let failing = try await fixture.client.start(
                Failing.self,
                input: "no luck",
                options: fixture.options()
            )
            await #expect(throws: WorkflowFailedError.self) { _ = try await failing.result() }
            let queue = [("namespace", "default"), ("task_queue", fixture.taskQueue)]
            func of(_ name: String, _ value: String) -> [(String, String)] { queue + [(name, value)] }
            func total(_ label: String, _ dimensions: [(String, String)]) -> Int64 {
                metrics.counterTotal(label: label, dimensions: dimensions)
            }
            try await eventually {
                total("temporal_activity_execution_failed", of("activity_type", "fail")) == 1
            }
            try await eventually {
                total("temporal_workflow_completed", of("workflow_type", "Approval")) == 1
                    && total("temporal_workflow_failed", of("workflow_type", "Failing")) == 1
            }
            #expect(total("temporal_workflow_task_queue_poll_succeed", queue) >= 2)
            let greetings = try metrics.expectTimer(
                "temporal_activity_execution_latency",
                of("activity_type", "greet")
            )
            #expect(greetings.values.count == 2)
            let tasks = try metrics.expectTimer(
                "temporal_workflow_task_execution_latency",
                of("workflow_type", "Approval")
            )
            #expect(!tasks.values.isEmpty)
            #expect(try metrics.expectGauge("temporal_sticky_cache_size", queue).lastValue != nil)
        }
    }

    @Test func `a codec sees what updates, children and markers carry`() async throws {
        try await TestServer.with { server in
            let connection = server.connection()
            let converter = DataConverter(codecs: [Mirrored()])
            let client = TemporalClient(connection: connection, converter: converter)
            let workflows: [any Workflow.Type] = [
                Approval.self, Parent.self, Failing.self, Recording.self, Counting.self,
            ]
            let worker = Worker(
                connection: connection,
                taskQueue: "mirrored",
                workflows: workflows,
                activities: Sample.activities,
                converter: converter
            )
            let running = Task { try await worker.run() }
            func options(_ id: String) -> StartWorkflowOptions { .init(id: id, taskQueue: "mirrored") }

            let approval = try await client.start(Approval.self, input: "Ada", options: options("a"))
            try await eventually { try await approval.query(Approval.phase) == "waiting" }
            await #expect(throws: UpdateFailedError.self) {
                _ = try await approval.update(Approval.rename, input: "")
            }
            #expect(try await approval.update(Approval.rename, input: "Grace") == "Ada")
            try await approval.signal(Approval.approve, input: true)
            #expect(try await approval.result() == "Hello Hello Grace, Hello all")
            let parent = try await client.execute(Parent.self, input: "failing", options: options("p"))
            #expect(parent == "child: no luck")
            let recording = try await client.start(Recording.self, options: options("r"))
            #expect(try await recording.result()[2] == "Hello local")
            #expect(try await client.execute(Counting.self, input: 0, options: options("c")) == 3)

            let plain = TemporalClient(connection: connection)
            for (id, secret) in [("a", "Grace"), ("p", "failing"), ("r", "Hello local")] {
                let history = try await plain.handle(id: id).history()
                let bytes: Data = try history.json()
                #expect(!String(decoding: bytes, as: UTF8.self).contains(base64(ofJSON: secret)), "\(id)")
                try await WorkflowReplayer(workflows: workflows, converter: converter).replay(history)
            }
            running.cancel()
            _ = await running.result
            await connection.close()
        }
    }

    @Test func `the web interface is told what a workflow is and does`() async throws {
        var limits = WorkerOptions()
        limits.taskQueueActivitiesPerSecond = 77
        try await WorkerFixture.with(
            workflows: [Approval.self],
            activities: Sample.activities,
            options: limits
        ) { fixture in
            var options = fixture.options("shown")
            options.summary = "a *summary*"
            let handle = try await fixture.client.start(Approval.self, input: "Ada", options: options)
            try await eventually { try await handle.query(Approval.phase) == "waiting" }
            let workflow =
                "http://127.0.0.1:\(fixture.server.httpPort)/api/v1/namespaces/default/workflows/shown"
            let description = try await fetch(workflow)
            #expect(description.contains(#""name":"Approval""#), "\(description)")
            #expect(description.contains("WORKFLOW_EXECUTION_STATUS_RUNNING"), "\(description)")
            let events = try await fetch("\(workflow)/history")
            #expect(events.contains("EVENT_TYPE_WORKFLOW_TASK_COMPLETED"))
            #expect(events.contains("temporal-martlet"), "the name of the library")
            let metadata = try await fetch("\(workflow)/query/__temporal_workflow_metadata", body: "{}")
            for name in ["approve", "rename", "phase", "waits for condition"] {
                #expect(metadata.contains(name), "\(metadata)")
            }
            let queues =
                "http://127.0.0.1:\(fixture.server.httpPort)/api/v1/namespaces/default/task-queues/"
                + "\(fixture.taskQueue)?taskQueueType=TASK_QUEUE_TYPE_"
            let queue = try await fetch("\(queues)WORKFLOW")
            #expect(queue.contains(fixture.connection.identity), "\(queue)")
            let activities = try await fetch("\(queues)ACTIVITY")
            #expect(activities.contains(#""ratePerSecond":77"#), "\(activities)")
            try await handle.terminate()
        }
    }
}

/// The text as a payload's data is written in a history's JSON.
private func base64(ofJSON text: String) -> String { Data("\"\(text)\"".utf8).base64EncodedString() }

private func fetch(_ address: String, body: String? = nil) async throws -> String {
    let configuration = URLSessionConfiguration.ephemeral
    configuration.connectionProxyDictionary = [:]
    var request = URLRequest(url: try #require(URL(string: address)))
    request.timeoutInterval = 30
    if let body {
        request.httpMethod = "POST"
        request.httpBody = Data(body.utf8)
        request.setValue("application/json", forHTTPHeaderField: "Content-Type")
    }
    let (data, response) = try await URLSession(configuration: configuration).data(for: request)
    #expect((response as? HTTPURLResponse)?.statusCode == 200, "\(address)")
    return String(decoding: data, as: UTF8.self)
}
