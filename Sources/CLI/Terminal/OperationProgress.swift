import Control
import Synchronization

/// Shows an operation step by step: one line a step when it ends, and on a terminal the step that runs.
final class OperationProgress: Sendable {
    private let isInteractive: Bool
    private let shown = Mutex(0)

    init(isInteractive: Bool = Terminal.isInteractive) { self.isInteractive = isInteractive }

    func show(_ record: OperationRecord) {
        let ended = record.steps.prefix { $0.state != .running }
        let first = shown.withLock { shown in
            defer { shown = max(shown, ended.count) }
            return shown
        }
        if isInteractive { clear() }
        for step in ended.dropFirst(first) {
            let mark = step.state == .done ? Terminal.styled("✓ ", .green) : Terminal.styled("✗ ", .red)
            Terminal.note(mark + Self.text(step))
        }
        if isInteractive, record.steps.count > ended.count, let running = record.steps.last {
            Terminal.draw("\r\u{1B}[K  " + Self.text(running))
        }
    }

    /// Takes away a line that is still being written anew.
    func clear() {
        if isInteractive { Terminal.draw("\r\u{1B}[K") }
    }

    /// A step as one line: what, where, how long, how much.
    static func text(_ step: OperationRecord.Step) -> String {
        let host = step.host.map { "on \($0)" } ?? ""
        let time = step.milliseconds.map { DurationText.format(.milliseconds($0)) } ?? ""
        let bytes = step.bytes.map { $0 > 0 ? ByteCount.format($0) : "" } ?? ""
        let columns = [
            step.name.padding(to: 9), host.padding(to: 12), time.padding(to: 8), bytes.padding(to: 10),
            step.message ?? "",
        ]
        return columns.joined(separator: " ").trimmingTrailingSpace
    }
}
