import ArgumentParser
import Control
import ControlClient
import Foundation

/// `martlet env`: variables and secrets.
struct Environment: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "env",
        abstract: "Set, list and remove an app's variables and secrets.",
        subcommands: [Set.self, List.self, Unset.self],
        defaultSubcommand: List.self
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List variables; the values of secrets are not shown."
        )

        @Argument(help: "The app's name.") var app: String?
        @OptionGroup var client: ClientOptions
        @Flag(help: "Print an array of objects.") var json = false

        func run() async throws {
            let variables = try await client.client().environment(of: try AppName.resolve(app))
            if json { return try Terminal.json(variables) }
            for variable in variables {
                Terminal.print("\(variable.name)=\(variable.isSecret ? "(secret)" : variable.value ?? "")")
            }
        }
    }

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Set variables; they apply at the app's next start.",
            discussion: """
                A name without = takes its value from standard input, which keeps a secret out of the shell's history: \
                `martlet env set shop API_KEY --secret < key.txt`.
                """
        )

        @Argument(help: "The app's name.") var app: String
        @Argument(help: ArgumentHelp("Variables.", valueName: "NAME=VALUE")) var variables: [String]
        @Flag(help: "Keep the values encrypted and never show them.") var secret = false
        @OptionGroup var client: ClientOptions

        func run() async throws {
            let app = try ApplicationID(validating: app)
            var parsed: [EnvironmentVariable] = []
            for text in variables {
                let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(
                    String.init
                )
                let variable = EnvironmentVariable(
                    name: parts[0],
                    value: try parts.count == 2 ? parts[1] : valueFromInput(parts[0]),
                    isSecret: secret
                )
                try variable.validate()
                parsed.append(variable)
            }
            try await client.client().setEnvironment(parsed, of: app)
            Terminal.note(
                "set \(parsed.map(\.name).joined(separator: ", ")); applied at the app's next start"
            )
        }

        private func valueFromInput(_ name: String) throws -> String {
            guard variables.count == 1, isatty(STDIN_FILENO) == 0 else {
                throw MartletError(
                    .badRequest,
                    "\(name) has no value: write \(name)=VALUE, or give the value on standard input"
                )
            }
            let data =
                try FileHandle.standardInput.read(upToCount: EnvironmentVariable.maximumValueBytes + 2)
                ?? Data()
            guard let text = String(data: data, encoding: .utf8) else {
                throw MartletError(.badRequest, "the value of \(name) is not UTF-8")
            }
            return text.hasSuffix("\n") ? String(text.dropLast()) : text
        }
    }

    struct Unset: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove variables.")

        @Argument(help: "The app's name.") var app: String
        @Argument(help: "Names.") var names: [String]
        @OptionGroup var client: ClientOptions

        func run() async throws {
            let app = try ApplicationID(validating: app)
            for name in names { try EnvironmentVariable.validate(name: name) }
            let client = try client.client()
            for name in names { try await client.unsetEnvironment(name, of: app) }
            Terminal.note("removed \(names.joined(separator: ", ")); applied at the app's next start")
        }
    }
}
