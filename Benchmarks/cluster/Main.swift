import Control
import Daemon
import Foundation
import Storage
import StorageTestSupport

/// Measures what moves of an app cost its clients, from the root of the source tree: `moves` with two hosts in this process
/// and orders given directly, the others with a whole cluster of processes and everything through the command line.
@main
enum Main {
    static func main() async {
        do { try await run() } catch {
            print("error: \(error)")
            exit(1)
        }
    }

    private static func run() async throws {
        let arguments = Array(CommandLine.arguments.dropFirst())
        func value(_ name: String) -> String? {
            arguments.firstIndex(of: "--" + name).flatMap {
                arguments.indices.contains($0 + 1) ? arguments[$0 + 1] : nil
            }
        }
        func number(_ name: String, _ usual: Int) -> Int { value(name).flatMap { Int($0) } ?? usual }
        switch arguments.first {
        case "load":
            Load(
                ports: (value("ports") ?? "").split(separator: ",").compactMap { UInt16($0) },
                apps: (value("apps") ?? "witness").split(separator: ",").map(String.init),
                writesPerSecond: number("writes", 200),
                readsPerSecond: number("reads", 200)
            ).run()
        case "moves":
            try await MoveBenchmark(
                moves: number("moves", 20),
                megabytes: number("megabytes", 20),
                rate: number("rate", 200),
                usesS3: value("store") != "folder",
                isWarm: !arguments.contains("--cold"),
                holds: !arguments.contains("--no-hold")
            ).run()
        case "cluster-moves":
            try await WholeCluster(rate: number("rate", 200)).moves(
                number("moves", 20),
                megabytes: number("megabytes", 20)
            )
        case "drain": try await WholeCluster(rate: number("rate", 100)).drain(apps: number("apps", 50))
        case "failover": try await WholeCluster(rate: number("rate", 100)).failover(apps: number("apps", 20))
        default:
            print(
                """
                usage: martlet-cluster-benchmark moves [--moves N] [--megabytes N] [--rate N] [--store folder|s3] [--cold] [--no-hold]
                       martlet-cluster-benchmark cluster-moves [--moves N] [--megabytes N] [--rate N]
                       martlet-cluster-benchmark drain [--apps N] [--rate N]
                       martlet-cluster-benchmark failover [--apps N] [--rate N]
                """
            )
            exit(2)
        }
    }
}

/// Moves an app to and fro while an outside process writes and reads.
struct MoveBenchmark {
    var moves: Int
    var megabytes: Int
    var rate: Int
    var usesS3: Bool
    var isWarm: Bool
    var holds: Bool

    func run() async throws {
        let folder = URL(fileURLWithPath: "/tmp/martlet-bench-\(getpid())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        if usesS3 {
            try await SeaweedFS.with(folder: folder.appending(path: "s3").path) { server in
                for (name, value) in server.environment { setenv(name, value, 1) }
                unsetenv("AWS_CA_BUNDLE")
                try await measure(folder, .s3(try server.configuration(prefix: "cluster/")))
            }
        } else {
            try await measure(folder, .folder(folder.appending(path: "store").path))
        }
    }

    /// One move, as the clients' clock saw it.
    private struct Times {
        var held: ClosedRange<UInt64>
        var follow = 0
        var quiesce: QuiesceReport
        var adopt: AdoptReport
    }

    private func measure(_ folder: URL, _ address: StoreAddress) async throws {
        let hosts = try await Hosts(["a", "b"], address: address, folder: folder, holds: holds)
        let app = try await hosts.specification("witness", Witness.files)
        _ = try await hosts.adopt(app, on: 0, epoch: 1, cause: .first)
        try await hosts.publish(app.app, at: 0, epoch: 1)
        let ports = hosts.members.map(\.port)
        for _ in 0..<megabytes { try await Witness.get("/fill?n=100", port: ports[0]) }
        let load = try Generator(ports: ports, rate: rate)
        try await Task.sleep(for: .seconds(2))
        var times: [Times] = []
        for move in 0..<moves {
            times.append(try await self.move(hosts, app, epoch: move + 1, from: move % 2))
            try await Task.sleep(for: .milliseconds(300))
        }
        try await Task.sleep(for: .seconds(1))
        let outcomes = await load.stop()
        let kept = try await Witness.kept(port: ports[0])
        report(times, outcomes, kept)
        await hosts.stop()
    }

    private func move(
        _ hosts: Hosts,
        _ app: ApplicationSpecification,
        epoch: Int,
        from old: Int
    ) async throws -> Times {
        let (source, target) = (hosts.members[old], hosts.members[1 - old])
        _ = try await target.agent.prepare(PrepareOrder(specification: app, number: hosts.nextNumber()))
        var follow: FollowReport?
        if isWarm {
            follow = try await target.agent.follow(
                FollowOrder(app: app.app, number: hosts.nextNumber(), fromEpoch: epoch)
            )
        }
        let begin = Load.now()
        let report = try await source.agent.cutOver(
            CutOverOrder(
                quiesce: QuiesceOrder(
                    app: app.app,
                    number: hosts.nextNumber(),
                    epoch: epoch,
                    drainMilliseconds: 20_000,
                    patienceMilliseconds: 60_000
                ),
                adopt: AdoptOrder(
                    specification: app,
                    number: hosts.nextNumber(),
                    epoch: epoch + 1,
                    fromEpoch: epoch,
                    cause: .move,
                    isAwake: true
                ),
                host: target.route
            )
        )
        let end = Load.now()
        try await hosts.publish(app.app, at: 1 - old, epoch: report.adopt.epoch)
        _ = try await source.agent.remove(
            RemoveOrder(app: app.app, number: hosts.nextNumber(), keepsReplica: true)
        )
        return Times(
            held: begin...end,
            follow: follow?.milliseconds ?? 0,
            quiesce: report.quiesce,
            adopt: report.adopt
        )
    }

    private func report(_ times: [Times], _ outcomes: [Load.Outcome], _ kept: Set<Int>) {
        let failed = outcomes.filter { $0.status != 200 }
        let lost = outcomes.filter { $0.isWrite && $0.status == 200 && !kept.contains($0.id) }
        let held = outcomes.filter { outcome in
            let end = outcome.due + outcome.nanoseconds
            return times.contains { $0.held.contains(outcome.due) || $0.held.contains(end) }
        }
        let epochs = Dictionary(grouping: outcomes.filter { $0.epoch > 0 }, by: \.epoch)
        let torn = epochs.filter { Set($0.value.map(\.host)).count > 1 }.count
        func milliseconds(_ nanoseconds: [UInt64]) -> String {
            let sorted = nanoseconds.sorted().map { Double($0) / 1e6 }
            guard let last = sorted.last else { return "none" }
            func quantile(_ share: Double) -> String {
                String(format: "%.0f", sorted[min(Int(Double(sorted.count) * share), sorted.count - 1)])
            }
            return "p50 \(quantile(0.5)) p99 \(quantile(0.99)) max \(String(format: "%.0f", last)) ms"
        }
        func parts(_ name: String, _ values: [Int]) {
            print(
                "  \(name.padding(toLength: 26, withPad: " ", startingAt: 0)) \(milliseconds(values.map { UInt64($0) * 1_000_000 }))"
            )
        }
        print(
            "\(moves) moves, database \(megabytes) MB, \(rate) writes/s and \(rate) reads/s, store \(usesS3 ? "SeaweedFS" : "folder"), "
                + "\(isWarm ? "warm copy" : "no warm copy"), \(holds ? "requests held" : "requests not held")"
        )
        print(
            "  requests \(outcomes.count), failed \(failed.count) \(Dictionary(grouping: failed, by: \.status).mapValues(\.count)), "
                + "acknowledged rows lost \(lost.count), epochs answered by two hosts \(torn)"
        )
        // Where in which move they failed, so that a cause can be looked for.
        for failure in failed.prefix(5) {
            let end = failure.due + failure.nanoseconds
            let move = times.lastIndex { $0.held.lowerBound <= end }
            let offset = move.map { Double(end) / 1e6 - Double(times[$0].held.lowerBound) / 1e6 }
            print(
                "    failed: \(failure.line), \(move.map { "\(offset.map { Int($0) } ?? 0) ms after the begin of move \($0)" } ?? "before all moves")"
            )
        }
        print("  all requests               \(milliseconds(outcomes.map(\.nanoseconds)))")
        print("  requests held by a move    \(held.count): \(milliseconds(held.map(\.nanoseconds)))")
        parts("app out of service", times.map { Int(($0.held.upperBound - $0.held.lowerBound) / 1_000_000) })
        parts("follow until caught up", times.map(\.follow))
        parts("drain running requests", times.map(\.quiesce.drainMilliseconds))
        parts("end the worker", times.map(\.quiesce.closeMilliseconds))
        parts("last sync, give up", times.map(\.quiesce.syncMilliseconds))
        parts("claim the epoch", times.map(\.adopt.claimMilliseconds))
        parts("finish the databases", times.map(\.adopt.restoreMilliseconds))
        parts("start the worker", times.map(\.adopt.startMilliseconds))
    }
}
