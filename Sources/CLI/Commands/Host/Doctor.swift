import ArgumentParser
import Control
import ControlClient
import Daemon
import Foundation

/// `martlet doctor`.
struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Look at what a host needs on this machine, and whether one can be reached."
    )

    @OptionGroup var client: ClientOptions
    @Flag(help: "Print an array of objects.") var json = false

    private struct Finding: Encodable {
        var id: String
        var isFine: Bool
        /// Without it a host does not start.
        var isRequired: Bool
        var message: String
    }

    func run() async throws {
        // As a host does, so that the same is found.
        Rootless.enter()
        var findings = [
            program("deno", required: true, remedy: "run `make tools`"),
            program("litestream", required: false, remedy: "run `make tools`"),
            program("temporal", required: false, remedy: "run `make tools`"),
            runtime(),
        ]
        findings += try await isolation()
        findings.append(await api())
        if json {
            try Terminal.json(findings)
        } else {
            for finding in findings {
                let mark =
                    finding.isFine
                    ? Terminal.styled("ok  ", .green)
                    : finding.isRequired ? Terminal.styled("no  ", .red) : Terminal.styled("-   ", .yellow)
                Terminal.print("\(mark) \(finding.id.padding(to: 12)) \(finding.message)")
            }
        }
        if findings.contains(where: { $0.isRequired && !$0.isFine }) {
            throw ExitCode(ExitStatus.failure.rawValue)
        }
    }

    private func isolation() async throws -> [Finding] {
        let scratch = URL.temporaryDirectory.appending(path: "martlet-doctor-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: scratch, withIntermediateDirectories: true)
        // Nothing is in it when it cannot be removed.
        defer { try? FileManager.default.removeItem(at: scratch) }
        var network = HostConfiguration.Network()
        if let nft = Programs.find("nft") { network.nft = nft.path }
        if let pasta = Programs.find("pasta") { network.pasta = pasta.path }
        let report = await IsolationReport.make(network, bwrap: Programs.find("bwrap"), scratch: scratch)
        return report.findings.map {
            Finding(id: $0.id, isFine: $0.isFine, isRequired: $0.isRequired, message: $0.message)
        }
    }

    private func program(_ name: String, required: Bool, remedy: String) -> Finding {
        guard let file = Programs.tool(name, given: nil) else {
            return Finding(id: name, isFine: false, isRequired: required, message: "not found; \(remedy)")
        }
        return Finding(id: name, isFine: true, isRequired: required, message: file.path)
    }

    private func runtime() -> Finding {
        guard let home = Programs.home else {
            return Finding(
                id: "runtime",
                isFine: false,
                isRequired: true,
                message:
                    "Runtime/harness.ts is not found from the program upwards; name its folder with `martlet up --runtime`"
            )
        }
        return Finding(
            id: "runtime",
            isFine: true,
            isRequired: true,
            message: home.appending(path: "Runtime").path
        )
    }

    private func api() async -> Finding {
        do {
            let client = try client.client()
            let about = try await client.about()
            return Finding(
                id: "api",
                isFine: true,
                isRequired: false,
                message: "martlet \(about.version) at \(client.endpoint), as \(about.user)"
            )
        } catch {
            let message = (error as? MartletError)?.message ?? "\(error)"
            return Finding(id: "api", isFine: false, isRequired: false, message: message)
        }
    }
}
