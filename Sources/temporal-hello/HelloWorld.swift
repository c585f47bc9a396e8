// The program of the documentation, with `temporal server start-dev` running: `swift run temporal-hello`
import Temporal

let greet = ActivityDefinition<String, String>("greet")

actor Greeting: Workflow {
    let context: WorkflowContext
    init(context: WorkflowContext) { self.context = context }

    func run(_ name: String) async throws -> String {
        try await context.activity(greet, name)
    }
}

@main struct HelloWorld {
    static func main() async throws {
        let port = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 7233
        let connection = TemporalConnection(.init(host: "127.0.0.1", port: port))
        let worker = Worker(
            connection: connection,
            taskQueue: "hello",
            workflows: [Greeting.self],
            activities: [ActivityRegistration(greet) { _, name in "Hello, \(name)!" }]
        )
        let running = Task { try await worker.run() }

        let client = TemporalClient(connection: connection)
        let answer = try await client.execute(
            Greeting.self,
            input: "world",
            options: .init(id: "greeting-1", taskQueue: "hello")
        )
        print(answer)

        running.cancel()
        _ = await running.result
        await connection.close()
    }
}
