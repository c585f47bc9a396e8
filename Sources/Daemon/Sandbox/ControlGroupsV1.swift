import CSandbox
import Foundation

/// Control groups, version 1: one tree for each controller (kernel documentation, admin-guide/cgroup-v1).
package struct ControlGroupsV1: ControlGroups {
    package let summary: String
    package let features: ControlGroupFeatures

    /// The folder of this daemon's groups in each controller's tree.
    private let controllers: [(controller: String, folder: ControlFolder)]

    /// Takes the controllers that this process may use.
    ///
    /// `trees`: the mounted tree of each controller, with the daemon's own group as its path below.
    /// `name`: the folder for this daemon's groups, its own on this machine.
    /// Result: nil when none can be used.
    package init?(trees: [String: String], name: String) {
        var roots: [(String, ControlFolder)] = []
        for controller in ["memory", "cpu", "pids", "freezer", "blkio"] {
            guard let tree = trees[controller] else { continue }
            let folder = ControlFolder(path: tree + "/" + name)
            do {
                try folder.make()
                roots.append((controller, folder))
            } catch { continue }
        }
        guard !roots.isEmpty else { return nil }
        controllers = roots
        let bits: [String: ControlGroupFeatures] = [
            "memory": .memory, "cpu": .cpu, "pids": .processes, "freezer": .freezer, "blkio": .reads,
        ]
        features = roots.reduce(into: []) { $0.formUnion(bits[$1.0] ?? []) }
        summary = "v1 (" + roots.map(\.0).joined(separator: ", ") + ")"
    }

    package func make(_ name: String) throws -> any ControlGroup {
        let group = group(name)
        for root in controllers { try root.folder.make() }
        for folder in group.folders.values { try folder.make() }
        return group
    }

    package func existing() -> [any ControlGroup] {
        Set(controllers.flatMap { $0.folder.folders() }).sorted().map(group)
    }

    package var roots: [String] { controllers.map(\.folder.path) }

    package func removeEmpty() {
        for root in controllers { root.folder.removeEmptyDaemons() }
    }

    package func close() { for (_, folder) in controllers { _ = folder.remove() } }

    private func group(_ name: String) -> ControlGroupV1 {
        let folders = controllers.map { ($0.controller, ControlFolder(path: $0.folder.path + "/" + name)) }
        return ControlGroupV1(name: name, folders: Dictionary(uniqueKeysWithValues: folders))
    }
}

/// One group in all trees.
struct ControlGroupV1: ControlGroup {
    let name: String
    let folders: [String: ControlFolder]

    /// The period of CPU quotas, in microseconds: short enough that a request of a limited app waits little.
    private static let periodMicroseconds = 50_000

    func entrances() throws -> [Int32] {
        var descriptors: [Int32] = []
        for folder in folders.values {
            let path = folder.path + "/cgroup.procs"
            do {
                descriptors.append(try SystemError.check(csandbox_open_write(path), "open \(path)"))
            } catch {
                descriptors.forEach(csandbox_close)
                throw error
            }
        }
        return descriptors
    }

    func set(_ limits: ControlGroupLimits) throws {
        if let memory = folders["memory"] {
            let bytes = limits.memoryBytes.map(String.init) ?? "-1"
            // The limit with swap is never below the limit without: which is written first depends on the direction.
            let withSwap = "memory.memsw.limit_in_bytes"
            let hasSwap = FileManager.default.fileExists(atPath: memory.path + "/" + withSwap)
            let old = memory.number("memory.limit_in_bytes") ?? 0
            let isRaised = hasSwap && (limits.memoryBytes ?? .max) > old
            if isRaised { try memory.write(bytes, to: withSwap) }
            try memory.write(bytes, to: "memory.limit_in_bytes")
            if hasSwap && !isRaised { try memory.write(bytes, to: withSwap) }
        }
        if let cpu = folders["cpu"] {
            let quota = limits.cpu.map { max(Int($0 * Double(Self.periodMicroseconds)), 1000) } ?? -1
            if quota > 0 { try cpu.write("\(Self.periodMicroseconds)", to: "cpu.cfs_period_us") }
            try cpu.write("\(quota)", to: "cpu.cfs_quota_us")
        }
        if let pids = folders["pids"] {
            try pids.write(limits.processes.map(String.init) ?? "max", to: "pids.max")
        }
        if let blkio = folders["blkio"], let reads = limits.reads {
            try blkio.write("\(reads.disk) \(reads.bytesPerSecond)", to: "blkio.throttle.read_bps_device")
        }
    }

    func freeze() throws {
        guard let freezer = folders["freezer"] else { throw SystemError(ENOTSUP, "freeze \(name)") }
        try freezer.write("FROZEN", to: "freezer.state")
        for attempt in 0..<60 {
            if freezer.read("freezer.state")?.hasPrefix("FROZEN") == true { return }
            usleep(attempt < 10 ? 200 : 2000)
        }
        try thaw()
        throw SystemError(ETIMEDOUT, "freeze \(name)")
    }

    func brake() throws {
        guard let freezer = folders["freezer"] else { throw SystemError(ENOTSUP, "stop \(name)") }
        try freezer.write("FROZEN", to: "freezer.state")
    }

    func setYielding(_ yields: Bool) {
        // Older kernels do not have the file.
        try? folders["cpu"]?.write(yields ? "1" : "0", to: "cpu.idle")
    }

    func thaw() throws { try folders["freezer"]?.write("THAWED", to: "freezer.state") }

    func memoryBytes() -> Int? { folders["memory"]?.number("memory.usage_in_bytes") }

    func outOfMemoryKills() -> Int { folders["memory"]?.number("oom_kill", in: "memory.oom_control") ?? 0 }

    func processRefusals() -> Int { folders["pids"]?.number("max", in: "pids.events") ?? 0 }

    func throttling() -> CPUThrottling {
        CPUThrottling(
            periods: folders["cpu"]?.number("nr_periods", in: "cpu.stat") ?? 0,
            throttled: folders["cpu"]?.number("nr_throttled", in: "cpu.stat") ?? 0
        )
    }

    func processes() -> [Int32] {
        Set(folders.values.flatMap { $0.processes() }).sorted()
    }

    func kill() {
        for pid in processes() where pid > 0 { Foundation.kill(pid, SIGKILL) }
        // A frozen process takes the signal once it runs again.
        try? thaw()  // Where it fails, removing fails, which is what counts.
    }

    func remove() -> Bool { folders.values.map { $0.remove() }.allSatisfy { $0 } }
}
