import ClusterContract
import Control
package import Logging
import ServiceLifecycle
package import Storage
package import Temporal

/// The workflows of a cluster as a service: any number of processes may run it.
package struct ControlWorker: Service {
    private let connection: TemporalConnection
    private let policy: SlicerPolicy
    private let timing: ApplicationTiming
    private let logger: Logger
    private let worker: Worker

    package init(
        connection: TemporalConnection,
        store: any ObjectStore,
        options: WorkerOptions = WorkerOptions(),
        policy: SlicerPolicy = SlicerPolicy(),
        timing: ApplicationTiming = ApplicationTiming(),
        logger: Logger
    ) {
        self.connection = connection
        self.policy = policy
        self.timing = timing
        self.logger = logger
        worker = Worker(
            connection: connection,
            taskQueue: ClusterNames.controlQueue,
            workflows: Self.workflows,
            activities: ControlActivities.registrations(store: store),
            options: options,
            logger: logger
        )
    }

    /// What this program's worker runs; replays need them too.
    package static let workflows: [any Workflow.Type] = [
        ApplicationWorkflow.self, SlicerWorkflow.self, HostWorkflow.self, UserWorkflow.self,
    ]

    package func run() async throws {
        try await cancelWhenGracefulShutdown { try await startSlicer() }
        try await worker.run()
    }

    /// Makes sure that there is a slicer; waits for Temporal as long as it takes.
    private func startSlicer() async throws {
        let client = TemporalClient(connection: connection)
        var pause = Duration.milliseconds(100)
        while !Task.isCancelled {
            do {
                try await client.start(
                    SlicerWorkflow.self,
                    input: SlicerInput(policy: policy, timing: timing),
                    options: StartWorkflowOptions(
                        id: ClusterNames.slicer,
                        taskQueue: ClusterNames.controlQueue,
                        idConflictPolicy: .useExisting
                    )
                )
                return
            } catch let error as RPCError {
                logger.warning("Temporal cannot be reached", metadata: ["error": "\(error)"])
                try await Task.sleep(for: pause)
                pause = min(pause * 2, .seconds(5))
            }
        }
    }
}
