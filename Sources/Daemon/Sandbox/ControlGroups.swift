import Foundation

/// The kernel's limits on groups of processes, in whichever of its two interfaces this machine has.
package protocol ControlGroups: Sendable {
    /// For people: what there is, for example `v1 (memory, cpu, pids, freezer)`.
    var summary: String { get }
    var features: ControlGroupFeatures { get }

    /// Makes the group of a worker.
    ///
    /// - Throws: ``SystemError``.
    func make(_ name: String) throws -> any ControlGroup

    /// The groups that there are, of this daemon or of one before it that was killed.
    func existing() -> [any ControlGroup]

    /// Removes the folders of the daemon's own, which must be empty.
    func close()

    /// The daemon's own folders, while it has any.
    var roots: [String] { get }

    /// Removes the daemon's own folder when it is empty, and empty ones that other daemons have left on this machine.
    ///
    /// One that a running daemon needs again is made again.
    func removeEmpty()
}

/// What can be limited or done here.
package struct ControlGroupFeatures: OptionSet, Sendable {
    package let rawValue: Int
    package init(rawValue: Int) { self.rawValue = rawValue }

    package static let memory = Self(rawValue: 1)
    package static let cpu = Self(rawValue: 2)
    package static let processes = Self(rawValue: 4)
    package static let freezer = Self(rawValue: 8)
    /// Reads from a disk; no machine has to have it.
    package static let reads = Self(rawValue: 16)
    package static let all: Self = [.memory, .cpu, .processes, .freezer]

    /// The names of what is missing from `all`.
    package var missing: [String] {
        [(Self.memory, "memory"), (.cpu, "cpu"), (.processes, "pids"), (.freezer, "freezer")]
            .filter { !contains($0.0) }.map(\.1)
    }
}

/// The limits of one worker; nil means none.
package struct ControlGroupLimits: Sendable, Equatable {
    package var memoryBytes: Int?
    /// Cores: 0.5 is half of one.
    package var cpu: Double?
    package var processes: Int?
    /// What it may read from a disk.
    package var reads: Reads?

    /// A disk, and how fast it may be read.
    package struct Reads: Sendable, Equatable {
        /// `major:minor` of the whole disk.
        package var disk: String
        package var bytesPerSecond: Int

        package init(disk: String, bytesPerSecond: Int) {
            self.disk = disk
            self.bytesPerSecond = bytesPerSecond
        }
    }

    package init(memoryBytes: Int? = nil, cpu: Double? = nil, processes: Int? = nil, reads: Reads? = nil) {
        self.memoryBytes = memoryBytes
        self.cpu = cpu
        self.processes = processes
        self.reads = reads
    }
}

/// The group of one worker.
///
/// Calls are a few small file accesses each.
package protocol ControlGroup: Sendable {
    var name: String { get }

    /// Open descriptors of the files through which a process enters; the caller closes them.
    func entrances() throws -> [Int32]
    func set(_ limits: ControlGroupLimits) throws
    /// Stops all of its processes between two instructions.
    ///
    /// - Throws: ``SystemError`` also when they had not stopped after about 100 ms.
    func freeze() throws
    func thaw() throws
    /// Stops its processes as soon as each of them can be, without waiting for it.
    func brake() throws
    /// Whether it gets only the CPU time that other groups leave.
    ///
    /// Nothing happens where the kernel cannot do that (before Linux 5.15).
    func setYielding(_ yields: Bool)
    /// Memory in use, or nil where that is not known.
    func memoryBytes() -> Int?
    /// How often the kernel ended a process of it for lack of memory.
    func outOfMemoryKills() -> Int
    /// How often a process or thread of it could not be made.
    func processRefusals() -> Int
    /// How often it had to wait for CPU time.
    func throttling() -> CPUThrottling
    func processes() -> [Int32]
    /// Ends everything in it.
    func kill()
    /// Removes the empty group.
    ///
    /// Returns whether it is gone.
    func remove() -> Bool
}

/// How often a group had used up its CPU time.
package struct CPUThrottling: Sendable, Equatable {
    /// Periods in which it ran, and those of them in which it was stopped for the rest.
    package var periods: Int
    package var throttled: Int

    package init(periods: Int = 0, throttled: Int = 0) {
        self.periods = periods
        self.throttled = throttled
    }

    /// Whether it was stopped in more than half of the periods since.
    package func waits(since before: CPUThrottling) -> Bool {
        let (periods, throttled) = (periods - before.periods, throttled - before.throttled)
        return periods >= 20 && throttled * 2 > periods
    }
}

extension ControlGroup {
    /// What its processes have used, of those that run.
    package func usage() -> LoadPlan.Usage {
        processes().reduce(into: LoadPlan.Usage()) { sum, pid in
            guard let used = ProcessStat.usage(of: pid) else { return }
            sum.cpu += used.cpu
            sum.writtenBytes += used.writtenBytes
        }
    }

    /// Ends everything in it and removes it, waiting up to about a second.
    package func destroy() -> Bool {
        for attempt in 0..<100 {
            kill()
            if remove() { return true }
            usleep(attempt < 10 ? 1000 : 10_000)
        }
        return false
    }
}

/// A folder of a control group file system, whose files are read and written whole.
struct ControlFolder: Sendable {
    let path: String

    func write(_ text: String, to file: String) throws(SystemError) {
        let target = path + "/" + file
        let fd = try SystemError.check(openForWriting(target), "open \(target)")
        defer { closeDescriptor(fd) }
        var text = text
        let result = text.withUTF8 { writeBytes(fd, UnsafeRawBufferPointer($0)) }
        try SystemError.check(result, "write \(text) to \(target)")
    }

    func read(_ file: String) -> String? {
        guard let data = FileManager.default.contents(atPath: path + "/" + file) else { return nil }
        return String(decoding: data, as: UTF8.self)
    }

    func number(_ file: String) -> Int? {
        read(file).flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
    }

    /// The number after `key` in a file of lines `key number`.
    func number(_ key: String, in file: String) -> Int? {
        guard let text = read(file) else { return nil }
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2, words[0] == key { return Int(words[1]) }
        }
        return nil
    }

    func processes() -> [Int32] {
        (read("cgroup.procs") ?? "").split(separator: "\n").compactMap { Int32($0) }
    }

    func folders() -> [String] {
        // None where it is gone.
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
        return entries.filter { entry in
            var isFolder: ObjCBool = false
            return FileManager.default.fileExists(atPath: path + "/" + entry, isDirectory: &isFolder)
                && isFolder.boolValue
        }
    }

    func make() throws(SystemError) {
        guard mkdir(path, 0o755) != 0, errno != EEXIST else { return }
        throw SystemError(errno, "make the control group \(path)")
    }

    func remove() -> Bool { rmdir(path) == 0 || errno == ENOENT }

    /// Removes it, if it is an empty group of a daemon, and those of other daemons beside it.
    ///
    /// The kernel removes no group that has processes or groups. One that is empty may be for a process that is about to
    /// enter, so of other daemons only what is old goes.
    func removeEmptyDaemons(olderThan age: Duration = .seconds(1800)) {
        _ = remove()
        let parent = ControlFolder(path: (path as NSString).deletingLastPathComponent)
        for name in parent.folders() where name.hasPrefix(Self.daemonPrefix) {
            let daemon = ControlFolder(path: parent.path + "/" + name)
            guard daemon.path != path, daemon.age >= age else { continue }
            if daemon.remove() { continue }
            for worker in daemon.folders() {
                let group = ControlFolder(path: daemon.path + "/" + worker)
                if group.age >= age { _ = group.remove() }
            }
            _ = daemon.remove()
        }
    }

    /// How daemons name their groups.
    static let daemonPrefix = "martlet-"

    private var age: Duration {
        // One that is gone is not old.
        guard let attributes = try? FileManager.default.attributesOfItem(atPath: path),
            let made = attributes[.modificationDate] as? Date
        else { return .zero }
        return .seconds(-made.timeIntervalSinceNow)
    }
}
