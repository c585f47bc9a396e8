import ArgumentParser

/// `martlet version`.
struct Version: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Print the version.")

    @Flag(help: "Print an object.") var json = false

    func run() throws {
        if json { return try Terminal.json(["version": Martlet.version]) }
        Terminal.print("martlet \(Martlet.version)")
    }
}
