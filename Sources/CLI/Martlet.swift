import ArgumentParser
import Control
import Foundation

/// The program: it finds the command, runs it, and turns what goes wrong into a message and an exit status.
@main
struct Martlet: AsyncParsableCommand {
    static let version = "0.1.0"

    static let configuration = CommandConfiguration(
        commandName: "martlet",
        abstract: "Runs stateful TypeScript apps on your own machines.",
        discussion: """
            Start a host with `martlet up`, then `martlet deploy` a folder that has a main.ts. Commands find the host by \
            --api and --token, by MARTLET_API and MARTLET_TOKEN, or by the configuration file that `martlet up` writes.
            """,
        version: version,
        groupedSubcommands: [
            CommandGroup(name: "Host:", subcommands: [Up.self, RunHost.self, Doctor.self]),
            CommandGroup(name: "Develop:", subcommands: [Init.self, Dev.self, Check.self, Client.self]),
            CommandGroup(
                name: "Apps:",
                subcommands: [
                    Deploy.self, Apps.self, Versions.self, Rollback.self, Logs.self,
                    Environment.self, Databases.self, Open.self, Delete.self,
                ]
            ),
            CommandGroup(
                name: "Cluster:",
                subcommands: [
                    RunControl.self, Hosts.self, Slices.self, Move.self, Drain.self, Users.self, Token.self,
                ]
            ),
            CommandGroup(name: "Other:", subcommands: [Version.self]),
        ]
    )

    static func main() async {
        // A reader such as `head` may close the pipe; writing then fails instead of ending the program.
        signal(SIGPIPE, SIG_IGN)
        do {
            var command = try parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch let error as MartletError {
            Terminal.error(error.message)
            Foundation.exit(ExitStatus(error.code).rawValue)
        } catch is CancellationError {
            Foundation.exit(ExitStatus.interrupted.rawValue)
        } catch {
            exit(withError: error)
        }
    }
}

/// Exit statuses, which scripts may rely on.
///
/// `docs/cli.md` lists them.
enum ExitStatus: Int32 {
    case success = 0
    /// Something failed that has no status of its own.
    case failure = 1
    case notFound = 2
    case unauthorized = 3
    /// The app, its settings or its archive is to blame.
    case rejected = 4
    case conflict = 5
    /// The host cannot be reached, or cannot do it now.
    case unavailable = 6
    /// The command line cannot be understood (`EX_USAGE` of BSD's sysexits).
    case usage = 64
    case interrupted = 130

    init(_ code: MartletError.Code) {
        self =
            switch code {
            case .badRequest: .usage
            case .notFound: .notFound
            case .unauthorized: .unauthorized
            case .invalidArchive, .invalidSettings, .checkFailed, .tooLarge: .rejected
            case .nameTaken, .conflict, .staleOrder, .ownedElsewhere, .quotaExceeded: .conflict
            case .unavailable, .timeout, .diskFull: .unavailable
            case .cancelled: .interrupted
            case .internal, .dataDamaged: .failure
            }
    }
}
