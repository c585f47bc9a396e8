import ArgumentParser
import Control
import ControlClient
import Foundation

/// `martlet logs`.
struct Logs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Read an app's log.")

    @Argument(help: "The app's name.") var app: String?
    @Flag(name: .shortAndLong, help: "Go on as the log grows, until interrupted.") var follow = false
    @Option(help: "From when on: a duration such as 10m, or a time such as 2026-11-24T06:15:04Z.") var since:
        String?
    @OptionGroup var client: ClientOptions
    @Flag(help: "Print one array of objects; with --follow one object a line.") var json = false

    func run() async throws {
        let start = try since.map { text throws(MartletError) in try Self.start(text, now: Date()) }
        let isStream = follow
        let asJSON = json
        let kept = Collector()
        try await client.client().logs(of: try AppName.resolve(app), since: start, follow: follow) { record in
            if !asJSON {
                Terminal.print(Self.line(record))
            } else if isStream {
                Terminal.print(String(decoding: try JSONFormat.encoder().encode(record), as: UTF8.self))
            } else {
                await kept.add(record)
            }
        }
        if asJSON, !isStream { try Terminal.json(await kept.records) }
    }

    private actor Collector {
        private(set) var records: [LogRecord] = []
        func add(_ record: LogRecord) { records.append(record) }
    }

    static func start(_ text: String, now: Date) throws(MartletError) -> Date {
        if let duration = DurationText.parse(text) {
            return now.addingTimeInterval(-Double(duration.components.seconds))
        }
        if let date = JSONFormat.date(text) { return date }
        throw MartletError(
            .badRequest,
            "--since \(text) is neither a duration such as 10m nor a time such as 2026-11-24T06:15:04Z"
        )
    }

    static func line(_ record: LogRecord) -> String {
        let time = Terminal.styled(JSONFormat.time(record.time), .dim)
        let request = record.requestID.map { " [\($0)]" } ?? ""
        return
            "\(time) \(record.stream.rawValue.padding(to: 6)) \(record.version?.short ?? "-")\(request) \(record.message)"
    }
}
