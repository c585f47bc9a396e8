import Control

/// Why a worker ended that nobody asked to end.
///
/// The answer to the requests that it handled and the line in the app's log come from here, so that both say the same.
package enum EndCause: Sendable, Equatable {
    /// The kernel ended it for lack of memory.
    case outOfMemory(limitBytes: Int?)
    /// The runtime ended it because its heap was full.
    case heapFull(heapMegabytes: Int, limitBytes: Int?)
    /// It could not make another thread or process.
    case tooManyProcesses(limit: Int?)
    /// The host ended it because its data folder grew beyond its limit.
    case diskFull(DiskUsage, DiskUsage)
    /// The host ended it because it did not answer and could not even say so itself.
    case requestTimeout(Duration)
    /// The same, while it used all the CPU time that it may.
    case cpuLimit(cores: Double, Duration)
    case ended(ProcessEnd)

    /// What is known when a worker ends.
    package struct Facts: Sendable, Equatable {
        package var end: ProcessEnd?
        /// Why the host ended it.
        package var order: EndCause?
        package var outOfMemoryKills = 0
        package var processRefusals = 0
        package var lastOutput = ""
        package var memoryLimitBytes: Int?
        package var heapMegabytes = 0
        package var processLimit: Int?

        package init() {}
    }

    package init(_ facts: Facts) {
        if let order = facts.order {
            self = order
        } else if facts.outOfMemoryKills > 0 {
            self = .outOfMemory(limitBytes: facts.memoryLimitBytes)
        } else if Self.isHeapFull(facts) {
            self = .heapFull(heapMegabytes: facts.heapMegabytes, limitBytes: facts.memoryLimitBytes)
        } else if facts.processRefusals > 0 {
            self = .tooManyProcesses(limit: facts.processLimit)
        } else {
            self = .ended(facts.end ?? .killed(signal: 9))
        }
    }

    /// V8 ends the process with a trap and says so (`OOMErrorHandler` of V8, 14.9 in Deno 2.9).
    private static func isHeapFull(_ facts: Facts) -> Bool {
        guard case .killed? = facts.end else { return false }
        return facts.lastOutput.contains("heap out of memory")
            || facts.lastOutput.contains("Fatal JavaScript out of memory")
    }

    /// For programs.
    package var code: String {
        switch self {
        case .outOfMemory, .heapFull: "worker_out_of_memory"
        case .tooManyProcesses: "too_many_processes"
        case .diskFull: "disk_full"
        case .requestTimeout: "request_timeout"
        case .cpuLimit: "cpu_limit"
        case .ended: "worker_ended"
        }
    }

    /// The status of the answers to requests that it handled.
    package var status: Int {
        switch self {
        case .outOfMemory, .heapFull, .tooManyProcesses, .ended: 502
        case .diskFull: 507
        case .requestTimeout, .cpuLimit: 504
        }
    }

    /// For the app's log.
    package var summary: String {
        switch self {
        case .outOfMemory(let limit):
            "the worker was ended because it used more than its memory limit of \(Self.bytes(limit)); raise limits.memory in "
                + "martlet.json, or use less"
        case .heapFull(let heap, let limit):
            "the worker was ended because its JavaScript heap was full: \(heap) MiB of the memory limit of "
                + "\(Self.bytes(limit)) are for it; raise limits.memory in martlet.json, or keep less in memory"
        case .tooManyProcesses(let limit):
            "the worker ended after it could not make another thread: \(limit.map(String.init) ?? "the host's number of") "
                + "threads and processes are its limit"
        case .diskFull(let usage, let limit):
            "the worker was ended because its data folder holds \(usage), more than its limit of \(limit); raise limits.disk "
                + "in martlet.json, or delete what is not needed: the app may start, but not grow"
        case .requestTimeout(let time):
            "the worker was ended because it had not answered a request within \(Self.seconds(time)) s and did nothing else "
                + "either: is there a loop that never ends?"
        case .cpuLimit(let cores, let time):
            "the worker was ended because it had not answered a request within \(Self.seconds(time)) s although it used all "
                + "the CPU time of its limit, \(cores) of a core; raise limits.cpu in martlet.json, or do less for a request"
        case .ended(let end): "the worker \(end)"
        }
    }

    private static func bytes(_ limit: Int?) -> String {
        limit.map { ByteCount.format($0) } ?? "the host's memory"
    }
    private static func seconds(_ time: Duration) -> Int { time.milliseconds / 1000 }
}

/// What a folder holds.
package struct DiskUsage: Sendable, Equatable, CustomStringConvertible {
    package var bytes: Int
    /// Files, folders and everything else that has a name.
    package var files: Int

    package init(bytes: Int, files: Int) {
        self.bytes = bytes
        self.files = files
    }

    package var description: String { "\(ByteCount.format(bytes)) in \(files) files" }
}

/// Decides when a data folder is looked at, and whether it has grown too much.
package struct DiskPlan: Sendable, Equatable {
    package let limit: DiskUsage
    /// An app whose folder is over its limit already may start, to make room, but not grow.
    private let allowed: DiskUsage
    private var dueAt: Uptime

    /// Room to delete: a database grows a little before it shrinks.
    static let slack = DiskUsage(bytes: 4 << 20, files: 16)

    package init(limit: DiskUsage, start: DiskUsage, now: Uptime) {
        self.limit = limit
        let isBytes = start.bytes > limit.bytes
        let isFiles = start.files > limit.files
        allowed = DiskUsage(
            bytes: isBytes ? start.bytes + Self.slack.bytes : limit.bytes,
            files: isFiles ? start.files + Self.slack.files : limit.files
        )
        dueAt = now
    }

    package func isDue(_ now: Uptime) -> Bool { now >= dueAt }

    /// Takes a measurement; returns whether the folder has grown beyond what it may.
    ///
    /// `took`: how long measuring took. It may take a twentieth of the time at most, whatever the folder holds.
    package mutating func measured(_ usage: DiskUsage, took: Duration, now: Uptime) -> Bool {
        let isNear = usage.bytes > limit.bytes / 2 || usage.files > limit.files / 2
        dueAt = now + max(took * 20, isNear ? .milliseconds(250) : .seconds(1))
        return usage.bytes > allowed.bytes || usage.files > allowed.files
    }
}
