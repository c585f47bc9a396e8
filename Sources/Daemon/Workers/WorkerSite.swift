import Foundation

/// What all workers of a daemon share.
package struct WorkerSite: Sendable {
    package var isolator: any Isolator
    package var groups: any ControlGroups
    /// Nil where workers share the host's network.
    package var gateway: NetworkGateway?
    /// Holds a folder for each worker; short, because socket paths have at most 107 bytes.
    package var runFolder: String
    package var harness: Harness
    /// The limits of a worker without an app.
    package var bootLimits: ControlGroupLimits
    /// The disk under the apps' data and how fast each may read it; nil where that is not known or not limited.
    package var reads: ControlGroupLimits.Reads?
    /// Cores that an app gets at least while it starts.
    package var wakingCPU = Double(min(ProcessInfo.processInfo.activeProcessorCount, 2))
    /// The memory limit for which the heap of the pool's workers is sized.
    package var standardMemoryBytes: Int
    /// Nil where workers have no folders of their own.
    package var runtimeCache: RuntimeCache?

    package init(
        isolator: any Isolator,
        groups: any ControlGroups,
        gateway: NetworkGateway? = nil,
        runFolder: String,
        harness: Harness,
        bootLimits: ControlGroupLimits,
        standardMemoryBytes: Int
    ) {
        self.isolator = isolator
        self.groups = groups
        self.gateway = gateway
        self.runFolder = runFolder
        self.harness = harness
        self.bootLimits = bootLimits
        self.standardMemoryBytes = standardMemoryBytes
    }

    /// V8's limit comes before the kernel's, because its message says what happened: the rest is for the runtime itself,
    /// for buffers outside the heap and for SQLite.
    package static func heapMegabytes(forLimit bytes: Int) -> Int { max(bytes / (1 << 20) * 6 / 10, 24) }

    /// Notes a worker's process, so that a daemon that starts after this one was killed can end it without control groups
    /// too.
    func note(started pid: Int32, _ id: WorkerID) {
        guard let identity = ProcessIdentity(pid: pid) else { return }
        // Without the note the worker is still found by its control group.
        try? identity.text.write(toFile: runFolder + "/\(id).pid", atomically: false, encoding: .utf8)
    }

    func forget(_ id: WorkerID) { unlink(runFolder + "/\(id).pid") }
}

/// A process id with the time of its start, which together are never used again.
package struct ProcessIdentity: Sendable, Equatable {
    package let pid: Int32
    /// In clock ticks since the machine's boot: field 22 of `/proc/PID/stat` (proc(5)).
    package let startTime: UInt64

    /// The process that has this id now.
    package init?(pid: Int32) {
        guard let fields = ProcessStat.fields(of: pid), fields.count > 19, let time = UInt64(fields[19])
        else {
            return nil
        }
        self.pid = pid
        startTime = time
    }

    package init?(text: String) {
        let words = text.split(whereSeparator: \.isWhitespace)
        guard words.count == 2, let pid = Int32(words[0]), let time = UInt64(words[1]), pid > 1 else {
            return nil
        }
        self.pid = pid
        startTime = time
    }

    package var text: String { "\(pid) \(startTime)\n" }

    /// Whether the process still runs.
    package var isAlive: Bool { ProcessIdentity(pid: pid) == self }
}

/// What the kernel says of a process: `/proc/PID/stat` (proc(5)).
enum ProcessStat {
    /// CPU time with that of its ended children, and what it has written to files (`/proc/PID/io`: pages that became
    /// dirty, which includes those whose file is gone before they reach the disk).
    static func usage(of pid: Int32) -> LoadPlan.Usage? {
        guard let fields = fields(of: pid), fields.count > 14 else { return nil }
        // utime, stime, cutime and cstime, fields 14 to 17, in ticks of which there are 100 a second.
        let ticks = fields[11...14].reduce(0) { $0 + (Int($1) ?? 0) }
        var written = 0
        for line in ControlGroupDetection.text("/proc/\(pid)/io").split(separator: "\n")
        where line.hasPrefix("write_bytes:") {
            written = Int(line.dropFirst(12).trimmingCharacters(in: .whitespaces)) ?? 0
        }
        return LoadPlan.Usage(cpu: .milliseconds(ticks * 10), writtenBytes: written)
    }

    /// The fields from the third on; nil when there is no such process.
    static func fields(of pid: Int32) -> [Substring]? {
        let stat = ControlGroupDetection.text("/proc/\(pid)/stat")
        // The second field is the name in parentheses and may hold anything; the third follows its last one.
        guard let end = stat.lastIndex(of: ")") else { return nil }
        return stat[stat.index(after: end)...].split(separator: " ")
    }
}
