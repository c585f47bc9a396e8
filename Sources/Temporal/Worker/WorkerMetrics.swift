import Metrics
import TemporalAPI

/// What a worker tells swift-metrics, by the names that the official SDKs use.
struct WorkerMetrics: Sendable {
    private let dimensions: [(String, String)]
    private let cacheSize: Gauge
    private let cacheHits: Counter
    private let cacheMisses: Counter

    init(namespace: String, taskQueue: String) {
        dimensions = [("namespace", namespace), ("task_queue", taskQueue)]
        cacheSize = Gauge(label: "temporal_sticky_cache_size", dimensions: dimensions)
        cacheHits = Counter(label: "temporal_sticky_cache_hit", dimensions: dimensions)
        cacheMisses = Counter(label: "temporal_sticky_cache_miss", dimensions: dimensions)
    }

    func cache(_ size: Int) { cacheSize.record(size) }

    /// A run was looked for in memory; that of a new one cannot be there.
    func lookUp(hit: Bool, isNew: Bool) {
        if hit { cacheHits.increment() } else if !isNew { cacheMisses.increment() }
    }

    func polled(_ kind: String, found: Bool) {
        Counter(
            label: "temporal_\(kind)_task_queue_poll_\(found ? "succeed" : "empty")",
            dimensions: dimensions
        )
        .increment()
    }

    func workflowTask(_ type: String, took duration: Duration) {
        Timer(label: "temporal_workflow_task_execution_latency", dimensions: with(("workflow_type", type)))
            .record(duration: duration)
    }

    func workflowTaskFailed(_ type: String) {
        Counter(label: "temporal_workflow_task_execution_failed", dimensions: with(("workflow_type", type)))
            .increment()
    }

    func workflowEnded(_ type: String, with command: APICommand?) {
        let end: String? =
            switch command?.commandType {
            case .completeWorkflowExecution: "completed"
            case .failWorkflowExecution: "failed"
            case .cancelWorkflowExecution: "canceled"
            case .continueAsNewWorkflowExecution: "continue_as_new"
            default: nil
            }
        guard let end else { return }
        Counter(label: "temporal_workflow_\(end)", dimensions: with(("workflow_type", type))).increment()
    }

    func activity(_ type: String, took duration: Duration, failed: Bool) {
        let dimensions = with(("activity_type", type))
        Timer(label: "temporal_activity_execution_latency", dimensions: dimensions).record(duration: duration)
        if failed { Counter(label: "temporal_activity_execution_failed", dimensions: dimensions).increment() }
    }

    private func with(_ dimension: (String, String)) -> [(String, String)] { dimensions + [dimension] }
}
