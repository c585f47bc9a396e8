import Control
import Synchronization

/// Shows a deployment stage by stage: on a terminal one line a stage, written anew; elsewhere one line when it ends.
final class DeploymentProgress: Sendable {
    private let isInteractive: Bool
    private let state = Mutex<(step: DeploymentStep?, lastPercent: Int)>((nil, -1))

    init(isInteractive: Bool = Terminal.isInteractive) {
        self.isInteractive = isInteractive
    }

    func upload(_ sent: Int, of total: Int) {
        guard isInteractive, total > 0 else { return }
        let percent = sent * 100 / total
        let isNew = state.withLock { state in
            defer { state.lastPercent = percent }
            return state.lastPercent != percent
        }
        if isNew { redraw("  upload    \(percent) % of \(ByteCount.format(total))") }
    }

    func show(_ event: DeploymentEvent) {
        let text = Self.text(event)
        switch event.state {
        case .started, .progress:
            if isInteractive { redraw("  " + text) }
        case .finished:
            if isInteractive { clear() }
            Terminal.note(Terminal.styled("✓ ", .green) + text)
        case .failed:
            if isInteractive { clear() }
            Terminal.note(Terminal.styled("✗ ", .red) + text)
        }
    }

    /// Takes away a line that is still being written anew.
    func clear() {
        if isInteractive { Terminal.draw("\r\u{1B}[K") }
    }

    static func text(_ event: DeploymentEvent) -> String {
        let name = event.step.rawValue.padding(to: 9)
        let fraction = event.fraction.map { "\(Int($0 * 100)) % " } ?? ""
        let time = event.elapsedMilliseconds.map { " (\(DurationText.format(.milliseconds($0))))" } ?? ""
        return "\(name) \(fraction)\(event.message ?? "")\(event.state == .finished ? time : "")"
            .trimmingTrailingSpace
    }

    private func redraw(_ text: String) { Terminal.draw("\r\u{1B}[K" + text) }
}

extension String {
    func padding(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }

    var trimmingTrailingSpace: String {
        var text = self[...]
        while text.last == " " { text.removeLast() }
        return String(text)
    }
}
