import ArgumentParser
import Control
import ControlClient

/// `martlet users`.
struct Users: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the accounts of a cluster, or set quotas.",
        subcommands: [List.self, Set.self],
        defaultSubcommand: List.self
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the accounts.")

        @OptionGroup var client: ClientOptions
        @Flag(help: "Print an array of objects.") var json = false

        func run() async throws {
            let accounts = try await client.client().accounts()
            if json { return try Terminal.json(accounts) }
            var table = TextTable(["user", "apps", "size", "quotas", "tokens"])
            for account in accounts {
                let quotas = [
                    account.quotas.apps.map { "\($0) apps" }, account.quotas.bytes.map(ByteCount.format),
                    account.quotas.cpu.map { "\($0) cores" },
                ].compactMap { $0 }.joined(separator: ", ")
                table.add([
                    account.id.rawValue, "\(account.apps.count)", ByteCount.format(account.usedBytes),
                    quotas.isEmpty ? "none" : quotas,
                    account.tokens.map { "\($0.name) (\($0.id))" }.joined(separator: ", "),
                ])
            }
            table.print()
        }
    }

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make an account, or change its quotas; those that are not named are lifted."
        )

        @Argument(help: "The user: a-z, 0-9 and -.") var user: String
        @Option(help: "How many apps.") var apps: Int?
        @Option(help: "How large their archives may be together, such as 500MiB.") var size: String?
        @Option(help: "How many cores they may use together.") var cores: Double?
        @OptionGroup var client: ClientOptions
        @Flag(help: "Print an object.") var json = false

        func run() async throws {
            let bytes = try size.map { text throws(MartletError) in
                guard let bytes = ByteCount.parse(text) else {
                    throw MartletError(.badRequest, "--size \(text) is no size such as 500MiB")
                }
                return bytes
            }
            let account = try await client.client().setAccount(
                try UserID(validating: user),
                quotas: Account.Quotas(apps: apps, bytes: bytes, cpu: cores)
            )
            if json { return try Terminal.json(account) }
            Terminal.note("changed \(account.id)")
        }
    }
}

/// `martlet token`.
struct Token: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make or remove a token of an account.",
        subcommands: [Add.self, Remove.self]
    )

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a token and print it, this once; an account that is not there is made."
        )

        @Argument(help: "The user.") var user: String
        @Option(help: "What the token is called, such as the machine that it is for.") var name = "token"
        @OptionGroup var client: ClientOptions
        @Flag(help: "Print an object.") var json = false

        func run() async throws {
            let token = try await client.client().addToken(to: try UserID(validating: user), name: name)
            if json { return try Terminal.json(token) }
            Terminal.note("token \(token.id) of \(token.user); it is not shown again:")
            Terminal.print(token.token)
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a token; it is refused within seconds."
        )

        @Argument(help: "The user.") var user: String
        @Argument(help: "The token, as `martlet users` lists it.") var token: String
        @OptionGroup var client: ClientOptions

        func run() async throws {
            try await client.client().removeToken(token, of: try UserID(validating: user))
            Terminal.note("removed token \(token) of \(user)")
        }
    }
}
