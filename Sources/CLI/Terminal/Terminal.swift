import Control
import Foundation
import Synchronization

/// Standard output and standard error, as a person at a terminal or a program behind a pipe reads them.
enum Terminal {
    /// Whether standard error is a terminal that understands colours and lines that are written anew.
    static let isInteractive =
        isatty(STDERR_FILENO) == 1 && ProcessInfo.processInfo.environment["TERM"] != "dumb"
    private static let usesColour =
        isInteractive && ProcessInfo.processInfo.environment["NO_COLOR"]?.isEmpty != false
    private static let lock = Mutex(())

    /// Writes a line of the result to standard output.
    static func print(_ line: String) { write(line + "\n", to: .standardOutput) }

    /// Writes a line for the person to standard error.
    static func note(_ line: String) { write(line + "\n", to: .standardError) }

    static func warning(_ line: String) { note(styled("warning:", .yellow) + " " + line) }

    static func error(_ line: String) { note(styled("error:", .red) + " " + line) }

    /// Writes without a line's end, for progress on a terminal.
    static func draw(_ text: String) { write(text, to: .standardError) }

    enum Style: String {
        case bold = "1"
        case dim = "2"
        case red = "31"
        case green = "32"
        case yellow = "33"
    }

    static func styled(_ text: String, _ style: Style) -> String {
        usesColour ? "\u{1B}[\(style.rawValue)m\(text)\u{1B}[0m" : text
    }

    /// A value as `--json` prints it.
    static func json(_ value: some Encodable) throws {
        print(String(decoding: try JSONFormat.encoder(pretty: true).encode(value), as: UTF8.self))
    }

    /// Asks a question; without a terminal to answer it there is no answer.
    static func ask(_ question: String) -> String? {
        guard isatty(STDIN_FILENO) == 1, isInteractive else { return nil }
        draw(question + " ")
        return readLine()
    }

    private static func write(_ text: String, to handle: FileHandle) {
        lock.withLock { _ in
            // A reader that has gone does not matter to the rest of the work.
            try? handle.write(contentsOf: Data(text.utf8))
        }
    }
}
