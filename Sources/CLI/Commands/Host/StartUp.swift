import Logging
import ServiceLifecycle
import UnixSignals

/// How `martlet up` starts: services, and a step once one of them is ready.
struct StartUp<Ready: Sendable>: Sendable {
    private let values: AsyncStream<Ready>
    private let continuation: AsyncStream<Ready>.Continuation

    init() { (values, continuation) = AsyncStream.makeStream() }

    /// Said by a service, once.
    func ready(_ value: Ready) { continuation.yield(value) }

    /// Runs the services until they end or a signal ends them, the last one first, and `step` when one is ready.
    ///
    /// - Throws: what a service throws, or what `step` throws: the services are then ended in order before.
    func run(
        _ services: [any Service],
        endingWithin limit: Duration,
        step: (Ready) async throws -> Void
    ) async throws {
        var configuration = ServiceGroupConfiguration(
            services: services,
            gracefulShutdownSignals: [.sigterm, .sigint],
            logger: Logger(label: "martlet")
        )
        configuration.maximumGracefulShutdownDuration = limit
        let group = ServiceGroup(configuration: configuration)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { [continuation] in
                defer { continuation.finish() }
                try await group.run()
            }
            var iterator = values.makeAsyncIterator()
            if let value = await iterator.next() {
                do {
                    try await step(value)
                } catch {
                    await group.triggerGracefulShutdown()
                    // The first error is the one to report.
                    try? await tasks.waitForAll()
                    throw error
                }
            }
            try await tasks.waitForAll()
        }
    }
}
