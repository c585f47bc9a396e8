import Control
import CSandbox
import Dispatch
public import Foundation
import Logging

/// What this machine can isolate, found out by doing it.
public struct IsolationReport: Sendable {
    public struct Finding: Sendable {
        /// For programs: `network`, `landlock`, ….
        public var id: String
        public var isFine: Bool
        /// Without it a host does not start, unless it is told to.
        public var isRequired: Bool
        /// What was found, or why it cannot be had and what helps.
        public var message: String
    }

    public let findings: [Finding]

    /// Tries each piece as a host would; takes about a second.
    ///
    /// `scratch`: an empty folder, which the caller removes.
    public static func make(
        _ configuration: HostConfiguration.Network,
        bwrap: URL?,
        scratch: URL
    ) async -> IsolationReport {
        var findings = [rights(), sandbox(bwrap)]
        findings += confinement()
        findings.append(await network(configuration, scratch.path(percentEncoded: false)))
        findings += limits()
        findings += [runners(), machines()]
        return IsolationReport(findings: findings)
    }

    private static func rights() -> Finding {
        let isPrivileged = SandboxSelection.isPrivileged
        let who =
            UserNamespace.isInitial
            ? (geteuid() == 0 ? "root" : "an ordinary user") : "an ordinary user, as root of a user namespace"
        return Finding(
            id: "rights",
            isFine: isPrivileged,
            isRequired: false,
            message: isPrivileged
                ? "\(who): warm workers can be kept"
                : "\(who), who may make no user namespace: no warm workers. Try sysctl -w kernel.unprivileged_userns_clone=1, "
                    + "kernel.apparmor_restrict_unprivileged_userns=0, or run as root"
        )
    }

    private static func sandbox(_ bwrap: URL?) -> Finding {
        guard let bwrap else {
            return Finding(
                id: "bubblewrap",
                isFine: false,
                isRequired: true,
                message:
                    "not found (Debian: apt-get install bubblewrap); --sandbox none goes on without any isolation"
            )
        }
        let arguments = [
            "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
        ]
        let (isFine, output) = run(
            bwrap.path(percentEncoded: false),
            arguments + ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--", "/bin/true"]
        )
        return Finding(
            id: "bubblewrap",
            isFine: isFine,
            isRequired: true,
            message: isFine ? bwrap.path : "\(bwrap.path) cannot make a sandbox: \(output)"
        )
    }

    private static func confinement() -> [Finding] {
        guard let program = Confinement.find() else {
            return ["landlock", "seccomp"].map {
                Finding(
                    id: $0,
                    isFine: false,
                    isRequired: true,
                    message:
                        "the program martlet-confine is not beside martlet; install both from the same build"
                )
            }
        }
        do {
            let probe = try Confinement.probe(program)
            return [
                Finding(
                    id: "landlock",
                    isFine: probe.landlock > 0,
                    isRequired: true,
                    message: probe.landlock > 0 ? "version \(probe.landlock)" : Isolations.noLandlock
                ),
                Finding(
                    id: "seccomp",
                    isFine: probe.seccomp,
                    isRequired: true,
                    message: probe.seccomp ? "system calls are filtered" : Isolations.noSeccomp
                ),
            ]
        } catch {
            return [Finding(id: "landlock", isFine: false, isRequired: true, message: "\(error)")]
        }
    }

    private static func network(
        _ configuration: HostConfiguration.Network,
        _ scratch: String
    ) async -> Finding {
        do {
            let quiet = Logger(label: "doctor") { _ in SwiftLogNoOpLogHandler() }
            let gateway = try NetworkGateway(configuration, name: scratch, scratch: scratch, logger: quiet)
            let isUp = await gateway.isUp(atMost: .seconds(5))
            let summary = gateway.summary
            await gateway.close()
            return Finding(
                id: "network",
                isFine: true,
                isRequired: true,
                message: "a network for each worker; \(summary)" + (isUp ? "" : " (no packet can leave now)")
            )
        } catch {
            return Finding(
                id: "network",
                isFine: false,
                isRequired: true,
                message:
                    "\(error). It takes root or user namespaces, and nft (Debian: apt-get install nftables passt)"
            )
        }
    }

    private static func limits() -> [Finding] {
        let groups = ControlGroupDetection.detect(name: "martlet-doctor-\(getpid())")
        defer { groups.close() }
        let lack = Isolations.limits(groups)
        let canFreeze = groups.features.contains(.freezer)
        return [
            Finding(
                id: "limits",
                isFine: lack == nil,
                isRequired: true,
                message: lack ?? "control groups \(groups.summary)"
            ),
            Finding(
                id: "freezer",
                isFine: canFreeze,
                isRequired: false,
                message: canFreeze
                    ? "idle apps can be frozen" : "no freezer: idle apps are stopped, and wake more slowly"
            ),
        ]
    }

    /// Hosts make no use of virtual machines; what is found says whether they could.
    private static func machines() -> Finding {
        var step: Int32 = 0
        let result = csandbox_try_machine(&step)
        guard result < 0 else {
            return Finding(
                id: "kvm",
                isFine: true,
                isRequired: false,
                message: "/dev/kvm makes virtual machines; hosts make no use of them"
            )
        }
        let what = ["be opened", "tell its version", "make a virtual machine", "make a processor"]
        let error = SystemError(-result, "try /dev/kvm")
        return Finding(
            id: "kvm",
            isFine: false,
            isRequired: false,
            message: "/dev/kvm cannot \(what[min(Int(step), 3)]) (\(error)); hosts make no use of it"
        )
    }

    /// The OCI runtimes that `--sandbox oci=PROGRAM` could name.
    private static func runners() -> Finding {
        let found = ["/usr/bin/crun", "/usr/bin/runsc", "/usr/local/bin/runsc"].filter {
            FileManager.default.isExecutableFile(atPath: $0)
        }
        return Finding(
            id: "oci",
            isFine: !found.isEmpty,
            isRequired: false,
            message: found.isEmpty
                ? "no OCI runtime (Debian: apt-get install crun); sandboxes are made by bubblewrap"
                : found.map { "--sandbox oci=\($0)" }.joined(separator: ", ")
                    + " can be used in place of bubblewrap"
        )
    }

    private static func run(_ program: String, _ arguments: [String]) -> (isFine: Bool, output: String) {
        let output = ToolOutput()
        do {
            let command = ChildProcess.Command(path: program, arguments: arguments, environment: [:])
            let child = try ChildProcess.start(command, queue: DispatchQueue(label: "doctor")) {
                output.take($1)
            }
            // Milliseconds, on request of a person.
            for _ in 0..<5000 where child.end.value == nil { usleep(1000) }
            child.signal(SIGKILL)
            return (child.end.value == .exited(status: 0), output.text)
        } catch {
            return (false, "\(error)")
        }
    }
}
