import CSandbox
import Foundation

/// Control groups, version 2: one tree (kernel documentation, admin-guide/cgroup-v2).
package struct ControlGroupsV2: ControlGroups {
    package let summary: String
    package let features: ControlGroupFeatures
    private let root: ControlFolder

    /// Takes what this process may use below `tree`.
    ///
    /// A group with processes of its own cannot give controllers to groups below it, so the daemon first moves out of
    /// `tree` into `tree/daemon` where it is in it.
    ///
    /// `tree`: the daemon's own group, delegated to it, or the tree's root.
    /// `name`: the folder for this daemon's groups.
    /// Result: nil when it cannot be used.
    package init?(tree: String, name: String, isRoot: Bool, daemon: Int32 = getpid()) {
        let top = ControlFolder(path: tree)
        let root = ControlFolder(path: tree + "/" + name)
        do {
            if !isRoot && top.processes().contains(daemon) {
                let own = ControlFolder(path: tree + "/" + name + "-daemon")
                try own.make()
                try own.write("\(daemon)", to: "cgroup.procs")
            }
            try root.make()
        } catch { return nil }
        let available = Set(
            (top.read("cgroup.controllers") ?? "").split(whereSeparator: \.isWhitespace).map(String.init)
        )
        var features: ControlGroupFeatures = []
        for (controller, feature) in Self.controllers where available.contains(controller) {
            do {
                try top.write("+\(controller)", to: "cgroup.subtree_control")
                try root.write("+\(controller)", to: "cgroup.subtree_control")
                features.insert(feature)
            } catch { continue }
        }
        // The freezer belongs to every group but the root (Linux 5.2).
        if FileManager.default.fileExists(atPath: root.path + "/cgroup.freeze") { features.insert(.freezer) }
        guard !features.isEmpty else { return nil }
        self.root = root
        self.features = features
        let names = [
            (ControlGroupFeatures.memory, "memory"), (.cpu, "cpu"), (.processes, "pids"),
            (.freezer, "freezer"), (.reads, "io"),
        ]
        summary = "v2 (" + names.filter { features.contains($0.0) }.map(\.1).joined(separator: ", ") + ")"
    }

    package func make(_ name: String) throws -> any ControlGroup {
        let group = ControlGroupV2(
            name: name,
            folder: ControlFolder(path: root.path + "/" + name),
            features: features
        )
        if !FileManager.default.fileExists(atPath: root.path) {
            try root.make()
            for (controller, feature) in Self.controllers where features.contains(feature) {
                try root.write("+\(controller)", to: "cgroup.subtree_control")
            }
        }
        try group.folder.make()
        return group
    }

    package func close() { _ = root.remove() }

    package var roots: [String] { [root.path] }

    package func removeEmpty() { root.removeEmptyDaemons() }

    private static let controllers = [
        ("memory", ControlGroupFeatures.memory), ("cpu", .cpu), ("pids", .processes), ("io", .reads),
    ]

    package func existing() -> [any ControlGroup] {
        root.folders().sorted().map {
            ControlGroupV2(name: $0, folder: ControlFolder(path: root.path + "/" + $0), features: features)
        }
    }
}

struct ControlGroupV2: ControlGroup {
    let name: String
    let folder: ControlFolder
    let features: ControlGroupFeatures

    private static let periodMicroseconds = 50_000

    func entrances() throws -> [Int32] {
        let path = folder.path + "/cgroup.procs"
        return [try SystemError.check(csandbox_open_write(path), "open \(path)")]
    }

    func set(_ limits: ControlGroupLimits) throws {
        if features.contains(.memory) {
            try folder.write(limits.memoryBytes.map(String.init) ?? "max", to: "memory.max")
            if FileManager.default.fileExists(atPath: folder.path + "/memory.swap.max") {
                try folder.write(limits.memoryBytes == nil ? "max" : "0", to: "memory.swap.max")
            }
        }
        if features.contains(.cpu) {
            let quota =
                limits.cpu.map { String(max(Int($0 * Double(Self.periodMicroseconds)), 1000)) } ?? "max"
            try folder.write("\(quota) \(Self.periodMicroseconds)", to: "cpu.max")
        }
        if features.contains(.processes) {
            try folder.write(limits.processes.map(String.init) ?? "max", to: "pids.max")
        }
        if features.contains(.reads), let reads = limits.reads {
            try folder.write("\(reads.disk) rbps=\(reads.bytesPerSecond)", to: "io.max")
        }
    }

    func freeze() throws {
        try folder.write("1", to: "cgroup.freeze")
        for attempt in 0..<60 {
            if folder.number("frozen", in: "cgroup.events") == 1 { return }
            usleep(attempt < 10 ? 200 : 2000)
        }
        try thaw()
        throw SystemError(ETIMEDOUT, "freeze \(name)")
    }

    func brake() throws { try folder.write("1", to: "cgroup.freeze") }

    func setYielding(_ yields: Bool) {
        guard features.contains(.cpu) else { return }
        // Older kernels do not have the file.
        try? folder.write(yields ? "1" : "0", to: "cpu.idle")
    }

    func thaw() throws { try folder.write("0", to: "cgroup.freeze") }

    func memoryBytes() -> Int? { folder.number("memory.current") }

    func outOfMemoryKills() -> Int { folder.number("oom_kill", in: "memory.events") ?? 0 }

    func processRefusals() -> Int { folder.number("max", in: "pids.events") ?? 0 }

    func throttling() -> CPUThrottling {
        CPUThrottling(
            periods: folder.number("nr_periods", in: "cpu.stat") ?? 0,
            throttled: folder.number("nr_throttled", in: "cpu.stat") ?? 0
        )
    }

    func processes() -> [Int32] { folder.processes() }

    func kill() {
        do {
            try folder.write("1", to: "cgroup.kill")  // Linux 5.14; it reaches frozen processes too.
        } catch {
            for pid in processes() where pid > 0 { Foundation.kill(pid, SIGKILL) }
            try? thaw()  // Where it fails, removing fails, which is what counts.
        }
    }

    func remove() -> Bool { folder.remove() }
}

/// No control groups: nothing is limited, nothing can be frozen.
package struct NoControlGroups: ControlGroups {
    package let summary = "none"
    package let features: ControlGroupFeatures = []

    package init() {}

    package func make(_ name: String) throws -> any ControlGroup { Group(name: name) }
    package func existing() -> [any ControlGroup] { [] }
    package func close() {}
    package var roots: [String] { [] }
    package func removeEmpty() {}

    private struct Group: ControlGroup {
        let name: String

        func entrances() throws -> [Int32] { [] }
        func set(_ limits: ControlGroupLimits) throws {}
        func freeze() throws {
            throw SystemError(ENOTSUP, "freeze \(name): this machine has no control groups")
        }
        func thaw() throws {}
        func brake() throws {}
        func setYielding(_ yields: Bool) {}
        func memoryBytes() -> Int? { nil }
        func outOfMemoryKills() -> Int { 0 }
        func processRefusals() -> Int { 0 }
        func throttling() -> CPUThrottling { CPUThrottling() }
        func processes() -> [Int32] { [] }
        func kill() {}
        func remove() -> Bool { true }
    }
}
