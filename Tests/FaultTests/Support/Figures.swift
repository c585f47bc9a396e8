import Foundation

/// Figures that a test found; printed, never judged: a busy machine is slow.
enum Figures {
    /// Whether the long tests run too.
    static let isSoak = ProcessInfo.processInfo.environment["MARTLET_SOAK"] != nil

    static func print(_ what: String, _ values: [Duration]) {
        let milliseconds = values.map(milliseconds).sorted()
        guard let first = milliseconds.first, let last = milliseconds.last else { return }
        let median = milliseconds[milliseconds.count / 2]
        Swift.print("figure: \(what): \(values.count) times, \(first) to \(last) ms, median \(median) ms")
    }

    static func milliseconds(_ duration: Duration) -> Int {
        let (seconds, attoseconds) = duration.components
        return Int(seconds) * 1000 + Int(attoseconds / 1_000_000_000_000_000)
    }
}
