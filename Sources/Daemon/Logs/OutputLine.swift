package import Control
package import Foundation

/// Reads a line of a worker's output: what the app wrote with `console`, or plain text.
package enum OutputLine {
    private struct Structured: Decodable {
        var level: String?
        var requestId: String?
        var text: String
        var source: String?
    }

    /// What a line says that does not come from the app's `console`: plain text, or a warning of the harness.
    static func wordsOfRuntime(_ line: ArraySlice<UInt8>) -> String? {
        guard line.first == 0x1E else { return String(decoding: line.prefix(4096), as: UTF8.self) }
        // Only these are worth reading; an app that writes the same deceives itself alone.
        guard line.firstRange(of: Array(#""source":"martlet""#.utf8)) != nil,
            let content = try? JSONDecoder().decode(Structured.self, from: Data(line.dropFirst())),
            content.level == "warn" || content.level == "error"
        else { return nil }
        return content.text
    }

    /// The record of a line.
    ///
    /// Its time is the host's, because an app can write what it likes.
    ///
    /// `line`: the byte 0x1E and JSON, or anything.
    package static func record(
        _ line: ArraySlice<UInt8>,
        isError: Bool,
        app: ApplicationID,
        version: VersionID?,
        now: Date
    ) -> LogRecord {
        var record = LogRecord(
            time: now,
            app: app,
            version: version,
            requestID: nil,
            stream: isError ? .stderr : .stdout,
            message: ""
        )
        // A line that only looks structured is text.
        if line.first == 0x1E,
            let content = try? JSONDecoder().decode(Structured.self, from: Data(line.dropFirst()))
        {
            record.requestID = content.requestId.map { String($0.prefix(128)) }
            record.level = content.level.flatMap(LogRecord.Level.init)
            record.message = content.text
            if content.source == "martlet" {
                record.stream = .system
            } else if record.level == .error || record.level == .warn {
                record.stream = .stderr
            }
        } else {
            record.message = String(decoding: line, as: UTF8.self)
        }
        return record
    }
}
