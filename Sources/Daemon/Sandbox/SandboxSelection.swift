import Control
import CSandbox
import Foundation
import Logging

/// What this machine can isolate and limit, found out once at start.
///
/// What is missing is said, never left out quietly.
struct SandboxSelection {
    let isolator: any Isolator
    let groups: any ControlGroups
    let gateway: NetworkGateway?
    let site: WorkerSite

    init(_ configuration: HostConfiguration, folder: StateFolder, logger: Logger) throws {
        let deno = configuration.deno.path(percentEncoded: false)
        guard FileManager.default.isExecutableFile(atPath: deno) else {
            throw MartletError(
                .unavailable,
                "the runtime is missing: \(deno) is not a program; run `make tools`"
            )
        }
        let runtime = Self.path(configuration.runtimeFolder)
        guard FileManager.default.fileExists(atPath: runtime + "/harness.ts") else {
            throw MartletError(
                .unavailable,
                "the worker's harness is missing: there is no \(runtime)/harness.ts"
            )
        }
        groups = ControlGroupDetection.detect(name: Self.groupName(of: folder))
        var lacks = Lacks(allowed: configuration.without, logger: logger)
        if let lack = Isolations.limits(groups) { try lacks.note(.limits, lack) }
        switch configuration.sandbox {
        case .none:
            logger.warning(
                "workers run without a sandbox: an app can read what this user can where the runtime has an error",
                metadata: ["sandbox": "none"]
            )
            isolator = PlainIsolator(deno: deno, runtime: runtime)
            gateway = nil
        case .bubblewrap(let program):
            let bwrap = program.path(percentEncoded: false)
            guard FileManager.default.isExecutableFile(atPath: bwrap) else {
                throw MartletError(
                    .unavailable,
                    "bubblewrap is missing: \(bwrap) is not a program (Debian: apt-get install bubblewrap); "
                        + "or go on without a sandbox with --sandbox none"
                )
            }
            let canGraft = Self.canGraft(logger)
            let confinement = try Self.confinement(&lacks)
            let network = try Self.network(configuration, folder: folder, &lacks, logger)
            gateway = network?.gateway
            isolator = BubblewrapIsolator(
                bwrap: bwrap,
                deno: deno,
                runtime: runtime,
                confinement: confinement,
                nameFiles: network?.files,
                graftsFolders: canGraft
            )
        case .oci(let runner):
            let program = runner.path(percentEncoded: false)
            guard FileManager.default.isExecutableFile(atPath: program) else {
                throw MartletError(
                    .unavailable,
                    "the OCI runtime is missing: \(program) is not a program (Debian: apt-get install crun)"
                )
            }
            guard Self.isPrivileged, FileManager.default.isExecutableFile(atPath: "/usr/bin/unshare") else {
                throw MartletError(
                    .unavailable,
                    "sandboxes by \(program) take root and /usr/bin/unshare (Debian: util-linux); use --sandbox bubblewrap"
                )
            }
            // A runtime that is ended leaves its sandbox to the control group.
            guard !groups.roots.isEmpty else {
                throw MartletError(
                    .unavailable,
                    "sandboxes by \(program) take control groups, which this process may not use; use --sandbox bubblewrap"
                )
            }
            let confinement = try Self.confinement(&lacks)
            let network = try Self.network(configuration, folder: folder, &lacks, logger)
            gateway = network?.gateway
            isolator = try OCIIsolator(
                program: program,
                folder: folder.path + "/oci",
                deno: deno,
                runtime: runtime,
                confinement: confinement,
                nameFiles: network?.files,
                graftsFolders: true
            )
        }
        var site = WorkerSite(
            isolator: isolator,
            groups: groups,
            gateway: gateway,
            runFolder: folder.run,
            harness: try Harness(runtimeFolder: runtime),
            bootLimits: ControlGroupLimits(
                memoryBytes: configuration.limits.memoryBytes,
                processes: configuration.limits.processes
            ),
            standardMemoryBytes: configuration.limits.memoryBytes
        )
        site.reads = Self.reads(configuration, folder: folder)
        if configuration.sandbox != .none {
            site.runtimeCache = RuntimeCache(
                folder: folder,
                deno: deno,
                runtime: runtime,
                heapMegabytes: WorkerSite.heapMegabytes(forLimit: configuration.limits.memoryBytes)
            )
        }
        self.site = site
    }

    private static func canGraft(_ logger: Logger) -> Bool {
        if isPrivileged { return true }
        logger.warning(
            "no warm workers: only root can put an app into a waiting sandbox; apps wake more slowly",
            metadata: ["sandbox": "bubblewrap"]
        )
        return false
    }

    /// The disk that the apps' data is on, where the kernel knows of one (tmpfs and overlays have none).
    private static func reads(
        _ configuration: HostConfiguration,
        folder: StateFolder
    ) -> ControlGroupLimits.Reads? {
        guard let rate = configuration.limits.readBytesPerSecond else { return nil }
        var info = stat()
        guard stat(folder.path, &info) == 0 else { return nil }
        // Of a partition, the disk that it is on: `..` of its folder in /sys.
        // How glibc packs the two numbers (makedev(3)).
        let number = UInt64(info.st_dev)
        let major = (number >> 8) & 0xFFF | (number >> 32) & ~0xFFF
        let minor = number & 0xFF | (number >> 12) & 0xFFFFF00
        let device = "/sys/dev/block/\(major):\(minor)"
        guard FileManager.default.fileExists(atPath: device) else { return nil }
        let isPart = FileManager.default.fileExists(atPath: device + "/partition")
        let text = ControlGroupDetection.text(device + (isPart ? "/../dev" : "/dev"))
        let disk = text.trimmingCharacters(in: .whitespacesAndNewlines)
        return disk.isEmpty ? nil : ControlGroupLimits.Reads(disk: disk, bytesPerSecond: rate)
    }

    private static func confinement(_ lacks: inout Lacks) throws -> Confinement {
        guard let program = Confinement.find() else {
            let missing =
                "the program martlet-confine is not beside this one; install both from the same build"
            try lacks.note(.files, missing)
            try lacks.note(.calls, missing)
            return .none
        }
        let probe = try Confinement.probe(program)
        if probe.landlock == 0 { try lacks.note(.files, Isolations.noLandlock) }
        if !probe.seccomp { try lacks.note(.calls, Isolations.noSeccomp) }
        return Confinement(program: program, hasFiles: probe.landlock > 0, hasCalls: probe.seccomp)
    }

    private static func network(
        _ configuration: HostConfiguration,
        folder: StateFolder,
        _ lacks: inout Lacks,
        _ logger: Logger
    ) throws -> (gateway: NetworkGateway, files: NameFiles)? {
        do {
            let gateway = try NetworkGateway(
                configuration.network,
                name: folder.path,
                scratch: folder.run,
                logger: logger
            )
            return (gateway, try NameFiles(folder: folder.path, server: NetworkGateway.address))
        } catch let error as SystemError {
            try lacks.note(.network, "\(error)")
            return nil
        }
    }

    /// What this machine lacks: an error, unless the person said to go on without it.
    private struct Lacks {
        let allowed: Set<HostConfiguration.Isolation>
        let logger: Logger

        mutating func note(_ isolation: HostConfiguration.Isolation, _ message: String) throws {
            guard allowed.contains(isolation) else {
                throw MartletError(
                    .unavailable,
                    "this machine cannot keep apps apart as they should be: \(message). `martlet doctor` says more; "
                        + "--without \(isolation.rawValue) goes on with less"
                )
            }
            logger.warning(
                "apps are kept apart less than they should be, as was asked for",
                metadata: ["without": "\(isolation.rawValue)", "reason": "\(message)"]
            )
        }
    }

    /// CAP_SYS_ADMIN, which entering a mount namespace takes: bit 21 of the effective capabilities (capability.h).
    static var isPrivileged: Bool {
        let status = ControlGroupDetection.text("/proc/self/status")
        guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix("CapEff:") }),
            let bits = UInt64(line.dropFirst(7).trimmingCharacters(in: .whitespaces), radix: 16)
        else { return false }
        return bits & (1 << 21) != 0
    }

    /// A daemon's groups are its own, and those of a killed daemon are found by the next one with the same folder.
    private static func groupName(of folder: StateFolder) -> String {
        let hash = folder.path.utf8.reduce(UInt64(0xcbf2_9ce4_8422_2325)) {
            ($0 ^ UInt64($1)) &* 0x100_0000_01b3
        }
        return ControlFolder.daemonPrefix + String(hash, radix: 36)
    }

    private static func path(_ url: URL) -> String {
        let path = url.path(percentEncoded: false)
        return path.hasSuffix("/") && path.count > 1 ? String(path.dropLast()) : path
    }
}
