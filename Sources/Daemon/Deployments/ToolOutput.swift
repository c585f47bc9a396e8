import Synchronization

/// The last lines that a tool wrote, for the person who must act on them.
final class ToolOutput: Sendable {
    private let lines = Mutex<[String]>([])

    func take(_ line: ArraySlice<UInt8>) {
        lines.withLock { lines in
            lines.append(String(decoding: line.prefix(500), as: UTF8.self))
            if lines.count > 30 { lines.removeFirst() }
        }
    }

    var text: String { lines.withLock { $0.joined(separator: "\n") } }
}
