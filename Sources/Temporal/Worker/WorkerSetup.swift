import Foundation
import SwiftProtobuf
import TemporalAPI

/// What the parts of a worker share.
struct WorkerSetup: Sendable {
    let connection: TemporalConnection
    let options: WorkerOptions
    let environment: WorkflowEnvironment
    /// By which name events in histories call the worker.
    let identity: String
    /// The queue of tasks for runs that this worker has in memory, and how long they wait there.
    let stickyAttributes: APIStickyExecutionAttributes
    let metrics: WorkerMetrics

    init(_ connection: TemporalConnection, _ options: WorkerOptions, _ environment: WorkflowEnvironment) {
        self.connection = connection
        self.options = options
        self.environment = environment
        let identity = options.identity ?? connection.identity
        self.identity = identity
        stickyAttributes = .with {
            $0.workerTaskQueue.name = "\(identity)-\(UUID().uuidString.lowercased())"
            $0.workerTaskQueue.kind = .sticky
            $0.workerTaskQueue.normalName = environment.taskQueue
            $0.scheduleToStartTimeout = .init(rounding: options.stickyScheduleToStartTimeout)
        }
        metrics = WorkerMetrics(namespace: environment.namespace, taskQueue: environment.taskQueue)
    }
}
