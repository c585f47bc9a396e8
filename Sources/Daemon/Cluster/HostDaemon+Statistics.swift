import Archive
import Control
import Dispatch
import Foundation
import Logging
import Proxy
import Synchronization

/// Statistics of the apps on this host: counted here, kept by a system app.
extension HostDaemon {
    /// Brings samples to the app of statistics for as long as the host runs.
    func statisticsLoop(_ interval: Duration) async {
        while !Task.isCancelled, !isStopping {
            do { try await Task.sleep(for: interval) } catch { break }
            let samples = await takeSamples()
            guard !samples.isEmpty else { continue }
            do { try await statistics.keep(samples) } catch {
                logger.debug("statistics were not kept", metadata: ["error": "\(error)"])
            }
        }
    }

    /// Starts the system app in a worker of its own.
    nonisolated func startStatistics() async throws -> Instance {
        let source = configuration.runtimeFolder.appending(path: "system/stats")
        let archive = folder.stagingPath() + ".tar.gz"
        // The next start of the daemon would remove it too.
        defer { unlink(archive) }
        _ = try ArchiveWriter().pack(source, to: URL(fileURLWithPath: archive))
        let version = try VersionID(digest: FileDigest.sha256(archive).digest)
        let stored = StateStore.Version(
            id: version,
            app: try ApplicationID(validating: "martlet-stats"),
            createdAt: Date(),
            artifactBytes: 0,
            usesCache: false,
            main: "main.ts",
            settings: ApplicationSettings()
        )
        return try await startSystemApp(
            stored,
            files: source.path(percentEncoded: false),
            data: folder.system + "/stats"
        )
    }

    private func startSystemApp(
        _ version: StateStore.Version,
        files: String,
        data: String
    ) async throws -> Instance {
        try await makeInstance(takeInstance(), version, data: data, files: files)
    }

    /// What each app used since the last sample.
    private func takeSamples() async -> [StatisticsApp.Sample] {
        let metrics = Dictionary((proxy?.metrics.apps ?? []).map { ($0.name, $0) }) { first, _ in first }
        let epochs = await databases?.epochs ?? [:]
        var samples: [StatisticsApp.Sample] = []
        // Those that sleep use nothing: of ten thousand apps only those are looked at that are awake, or were.
        let due = watched.union(sampled)
        sampled = []
        for app in due {
            guard let entry = entries[app], entry.departure == nil else {
                lastCounts[app] = nil
                continue
            }
            let count = counted(entry, metrics[app.rawValue])
            let before = lastCounts[app] ?? LoadCounts()
            lastCounts[app] = count
            if entry.awake != nil {
                sampled.insert(app)
                entry.databaseBytes = Self.folderBytes(folder.data(app.rawValue))
            }
            guard count != before || entry.awake != nil else { continue }
            samples.append(
                StatisticsApp.Sample(
                    app: app.rawValue,
                    epoch: epochs[app] ?? 0,
                    requests: max(count.requests - before.requests, 0),
                    errors: max(count.errors - before.errors, 0),
                    cpuMicroseconds: max(count.cpuMicroseconds - before.cpuMicroseconds, 0),
                    memoryBytes: memoryBytes(entry),
                    databaseBytes: entry.databaseBytes ?? 0,
                    bytesIn: max(count.bytesIn - before.bytesIn, 0),
                    bytesOut: max(count.bytesOut - before.bytesOut, 0),
                    latency: count.latencyPairs(since: before)
                )
            )
        }
        measureSleeping()
        return samples
    }

    /// Apps that have slept since the host was started are measured a few at a time.
    private func measureSleeping() {
        for app in unmeasured.suffix(Self.measuredAtOnce) {
            guard let entry = entries[app], entry.databaseBytes == nil else { continue }
            entry.databaseBytes = Self.folderBytes(folder.data(app.rawValue))
        }
        unmeasured.removeLast(min(Self.measuredAtOnce, unmeasured.count))
    }

    private static let measuredAtOnce = 200

    private func memoryBytes(_ entry: Entry) -> Int {
        (entry.awake?.instances.values ?? [:].values).compactMap { $0.worker.group.memoryBytes() }.reduce(
            0,
            +
        )
    }

    /// What was counted of an app since the host was started.
    private func counted(_ entry: Entry, _ metrics: AppMetrics?) -> LoadCounts {
        var count = LoadCounts(
            requests: entry.cell.requests.load(ordering: .relaxed),
            errors: Int(metrics.map { $0.serverError + $0.noStatus } ?? 0),
            cpuMicroseconds: 0,
            bytesIn: Int(metrics?.bytesIn ?? 0),
            bytesOut: Int(metrics?.bytesOut ?? 0),
            latency: metrics?.latency.counts ?? []
        )
        for instance in entry.awake?.instances.values ?? [:].values {
            count.cpuMicroseconds += ProcessTimes.microseconds(of: instance.worker.group.processes())
        }
        return count
    }

    /// What the host does and has, by what the app of statistics knows of the time since the last report.
    func report(incarnation: String) async throws -> HostReport {
        guard let membership else { throw Self.notInCluster() }
        let interval = uptime() - lastReport
        lastReport = uptime()
        let known: [StatisticsApp.Load]
        do { known = try await statistics.loads(of: max(interval.milliseconds, 1000)) } catch {
            // Without it the Slicer sees where the apps are, and their sizes.
            logger.warning("statistics can not be had", metadata: ["error": "\(error)"])
            known = []
        }
        let loads = Dictionary(known.map { ($0.app, $0) }) { first, _ in first }
        let epochs = await databases?.epochs ?? [:]
        var apps: [ApplicationLoad] = []
        for (app, entry) in entries.sorted(by: { $0.key < $1.key }) where entry.departure == nil {
            let load = loads[app.rawValue]
            apps.append(
                ApplicationLoad(
                    app: app,
                    epoch: epochs[app] ?? 0,
                    isAwake: entry.awake != nil,
                    requests: load?.requests ?? 0,
                    errors: load?.errors ?? 0,
                    cpuMicroseconds: load?.cpuMicroseconds ?? 0,
                    memoryBytes: memoryBytes(entry),
                    databaseBytes: load?.databaseBytes ?? entry.databaseBytes ?? 0
                )
            )
        }
        return HostReport(
            host: configuration.host,
            incarnation: incarnation,
            generation: membership.generation,
            intervalMilliseconds: interval.milliseconds,
            apps: apps
        )
    }
}

/// What is counted of an app since the host was started.
struct LoadCounts: Sendable, Equatable {
    var requests = 0
    var errors = 0
    var cpuMicroseconds = 0
    var bytesIn = 0
    var bytesOut = 0
    var latency: [UInt64] = []

    /// The buckets that have grown: upper bounds in microseconds, and by how much.
    func latencyPairs(since before: LoadCounts) -> [[Int]] {
        latency.indices.compactMap { index in
            let earlier = before.latency.indices.contains(index) ? before.latency[index] : 0
            guard latency[index] > earlier else { return nil }
            return [Int(LatencyHistogram.upperBound(of: index)), Int(latency[index] - earlier)]
        }
    }
}

/// CPU time of processes, by what the kernel says of each (proc(5), /proc/PID/stat, fields 14 and 15).
enum ProcessTimes {
    static func microseconds(of processes: [Int32]) -> Int {
        let perSecond = max(sysconf(Int32(_SC_CLK_TCK)), 1)
        return processes.reduce(0) { sum, process in
            guard let fields = ProcessStat.fields(of: process), fields.count > 12,
                let user = Int(fields[11]), let system = Int(fields[12])
            else { return sum }
            return sum + (user + system) * 1_000_000 / perSecond
        }
    }
}
