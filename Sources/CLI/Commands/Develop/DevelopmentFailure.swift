import Control
import Daemon
import Foundation

/// Why an app did not start, with the lines of its source, for the terminal and the browser.
struct DevelopmentFailure {
    private let message: String
    private let place: String?
    private let excerpt: String?

    /// `files`: the folder that the worker saw as the app's; `folder`: where the person has it.
    init(_ error: any Error, files: String, folder: URL) {
        let failure = error as? MartletError
        var message = failure?.message ?? "\(error)"
        for seen in ["file:///app/", "/app/", "file://\(files)/", "\(files)/"] {
            message = message.replacingOccurrences(of: seen, with: "")
        }
        self.message = message
        guard case .failed(let report)? = failure?.cause as? WorkerError, let file = report.file,
            let line = report.line
        else {
            place = nil
            excerpt = nil
            return
        }
        let name =
            ["/app/", files + "/"].first { file.hasPrefix($0) }.map { String(file.dropFirst($0.count)) }
            ?? file
        place = "\(name):\(line)" + (report.column.map { ":\($0)" } ?? "")
        excerpt = Self.excerpt(folder.appending(path: name), line: line, column: report.column)
    }

    var text: String {
        [message, place.map { "  at \($0)" }, excerpt].compactMap { $0 }.joined(separator: "\n")
    }

    /// A page that shows the error, and loads again once the app answers.
    var page: String {
        """
        <!doctype html><meta charset="utf-8"><title>\(Self.escape(message))</title><style>
        body{font:16px/1.5 system-ui,sans-serif;margin:3rem auto;max-width:60rem;padding:0 1rem;color:#222;background:#fff}
        h1{font-size:1.2rem;color:#b3261e;white-space:pre-wrap}pre{background:#f4f4f5;padding:1rem;overflow:auto;\
        border-radius:6px}small{color:#666}
        @media(prefers-color-scheme:dark){body{background:#18181b;color:#e4e4e7}pre{background:#27272a}h1{color:#f2b8b5}}
        </style><small>The app does not start</small><h1>\(Self.escape(message))</h1>
        <p><code>\(Self.escape(place ?? ""))</code></p>\(excerpt.map { "<pre>\(Self.escape($0))</pre>" } ?? "")
        <small>This page loads again as soon as the app starts.</small>
        <script>setInterval(async()=>{try{const a=await fetch(location.href,{method:"HEAD",cache:"no-store"});\
        if(!a.headers.has("x-martlet-dev"))location.reload()}catch{}},400)</script>

        """
    }

    private static func excerpt(_ file: URL, line: Int, column: Int?) -> String? {
        guard let data = FileManager.default.contents(atPath: file.path) else { return nil }
        let lines = String(decoding: data, as: UTF8.self).split(
            separator: "\n",
            omittingEmptySubsequences: false
        )
        guard lines.indices.contains(line - 1) else { return nil }
        var shown: [String] = []
        for index in max(0, line - 3)..<min(lines.count, line + 2) {
            let number = "\(index + 1)"
            let mark = index == line - 1 ? ">" : " "
            shown.append(
                "\(mark)\(String(repeating: " ", count: max(0, 5 - number.count)))\(number)  \(lines[index])"
            )
            if index == line - 1, let column, column > 0 {
                shown.append(String(repeating: " ", count: 7 + column) + "^")
            }
        }
        return shown.joined(separator: "\n")
    }

    private static func escape(_ text: String) -> String {
        var escaped = ""
        for character in text {
            switch character {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            default: escaped.append(character)
            }
        }
        return escaped
    }
}
