import ArgumentParser
import Control
import Daemon
import Foundation
import Glibc

/// Options of the commands that run a host: how apps are kept apart.
struct IsolationOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Go on although this machine cannot keep apps apart in this way: network, files, calls or limits; several "
                + "with commas. `martlet doctor` says what is missing.",
            valueName: "what"
        )
    )
    var without: String?
    @Option(
        name: .customLong("deny-network"),
        help: ArgumentHelp(
            "Addresses that no app may reach beside private ones, such as 203.0.113.0/24; can be given several times.",
            valueName: "range"
        )
    )
    var denied: [String] = []
    @Option(help: "How packets of apps leave this machine: automatic, kernel, pasta or none.")
    var uplink = Uplink.automatic

    enum Uplink: String, ExpressibleByArgument, CaseIterable {
        case automatic, kernel, pasta, none
    }

    /// The same options for another command that runs a host.
    var arguments: [String] {
        (without.map { ["--without", $0] } ?? []) + denied.flatMap { ["--deny-network", $0] }
            + ["--uplink", uplink.rawValue]
    }

    func apply(to configuration: inout HostConfiguration) throws {
        for word in without?.split(separator: ",") ?? [] {
            guard let isolation = HostConfiguration.Isolation(rawValue: String(word)) else {
                throw MartletError(
                    .badRequest,
                    "--without \(word): there are "
                        + HostConfiguration.Isolation.allCases.map(\.rawValue).joined(separator: ", ")
                )
            }
            configuration.without.insert(isolation)
        }
        try configuration.network.deny(denied)
        configuration.network.uplink =
            HostConfiguration.Network.Uplink(rawValue: uplink.rawValue) ?? .automatic
        if let nft = Programs.find("nft") { configuration.network.nft = nft.path }
        if let pasta = Programs.find("pasta") { configuration.network.pasta = pasta.path }
    }
}

/// Lets an ordinary user keep apps apart as root does.
enum Rootless {
    /// Starts this program anew as root of a user namespace (user_namespaces(7)): it may then make networks and mounts for
    /// its workers, and has no more rights over the machine than before.
    ///
    /// Returns when there is nothing to be gained by it, or it is not allowed here, which is then reported as what is
    /// missing.
    static func enter() {
        guard geteuid() != 0, UserNamespace.isInitial, let unshare = Programs.find("unshare") else { return }
        let options = ["--user", "--map-root-user", "--mount", "--"]
        let probe = Process()
        probe.executableURL = unshare
        probe.arguments = options + ["/bin/true"]
        probe.standardError = FileHandle.nullDevice
        do { try probe.run() } catch { return }
        probe.waitUntilExit()
        guard probe.terminationStatus == 0 else { return }
        let program = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().path
        let words = [unshare.path] + options + [program] + CommandLine.arguments.dropFirst()
        var arguments = words.map { strdup($0) }
        arguments.append(nil)
        // Keeps the process id; it returns only when it fails.
        execv(unshare.path, arguments)
        for argument in arguments { free(argument) }
    }
}
