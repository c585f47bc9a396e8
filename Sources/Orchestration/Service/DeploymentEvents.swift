import Control

/// Turns the growing record of an operation into the events of a deployment, each once.
struct DeploymentEvents {
    private var started = 0
    private var ended = 0

    /// What happened since the last look.
    mutating func news(in record: OperationRecord) -> [DeploymentEvent] {
        var events: [DeploymentEvent] = []
        for (index, step) in record.steps.enumerated() {
            guard let name = Self.names[step.name] else { continue }
            let host = step.host.map { "on \($0)" }
            if index >= started { events.append(DeploymentEvent(name, .started, message: host)) }
            guard step.state != .running, index >= ended else { continue }
            ended = index + 1
            let bytes = step.bytes.map { $0 > 0 ? ", \(ByteCount.format($0))" : "" } ?? ""
            let message = step.state == .done ? host.map { $0 + bytes } : step.message
            events.append(
                DeploymentEvent(
                    name,
                    step.state == .done ? .finished : .failed,
                    message: message,
                    elapsedMilliseconds: step.milliseconds
                )
            )
        }
        started = max(started, record.steps.count)
        return events
    }

    private static let names: [String: DeploymentStep] = [
        "prepare": .prepare, "check": .check, "adopt": .start, "start": .start, "retire": .drain,
    ]
}
