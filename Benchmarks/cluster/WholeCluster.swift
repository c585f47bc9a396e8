import Control
import Daemon
import Foundation
import StorageTestSupport

/// What moves, drains and failovers of a whole cluster cost its clients: everything goes through the command line, the
/// workflows and Temporal, as people use it.
struct WholeCluster {
    var rate: Int

    /// Moves one app to and fro.
    func moves(_ count: Int, megabytes: Int) async throws {
        try await with(["h1", "h2", "h3"]) { cluster in
            let ports = cluster.members.map(\.port)
            try await deploy(["witness"], on: cluster)
            for _ in 0..<megabytes { try await Witness.get("/fill?n=100", port: ports[0]) }
            let load = try Generator(ports: ports, rate: rate)
            try await Task.sleep(for: .seconds(2))
            // Both clocks are of this machine.
            let offset = Double(Load.now()) / 1e9 - Date().timeIntervalSince1970
            var windows: [ClosedRange<UInt64>] = []
            var inside: [Int] = []
            var whole: [Int] = []
            var failures: [String] = []
            for move in 0..<count {
                let hosts = try await cluster.hosts()
                guard let target = hosts.first(where: { $0.apps == 0 }) else { continue }
                let result = try await cluster.martlet("move", "witness", "--to", target.id, "--json")
                guard result.status == 0 else {
                    failures.append("move \(move): \(result.text)")
                    continue
                }
                let record = try JSONFormat.decoder().decode(
                    OperationRecord.self,
                    from: Data(result.text.utf8)
                )
                if record.state != .done { failures.append("move \(move): \(record.state)") }
                if let step = record.steps.first(where: { $0.name == "cutOver" }),
                    let milliseconds = step.milliseconds
                {
                    let begin = UInt64((step.startedAt.timeIntervalSince1970 + offset) * 1e9)
                    windows.append(begin...begin + UInt64(milliseconds) * 1_000_000)
                    inside.append(milliseconds)
                }
                whole.append(record.steps.compactMap(\.milliseconds).reduce(0, +))
                if count <= 10 {
                    record.steps.forEach {
                        print("    \($0.name) \($0.milliseconds ?? 0) ms  \($0.message ?? "")")
                    }
                }
            }
            try await Task.sleep(for: .seconds(1))
            let outcomes = await load.stop()
            let kept = try await Witness.kept(port: ports[0])
            print(
                "\(count) moves through the workflows, database \(megabytes) MB, \(rate) writes/s and \(rate) reads/s, SeaweedFS"
            )
            Summary.print(outcomes, kept: kept, windows: windows)
            Summary.parts("steps of a move", whole)
            Summary.parts("the step cutOver", inside)
            Summary.line("routes pushed to a host", try await cluster.routePushes().milliseconds)
            for failure in failures { print("  \(failure)") }
        }
    }

    /// Empties one host after the other.
    func drain(apps count: Int) async throws {
        try await with(["h1", "h2", "h3"]) { cluster in
            let ports = cluster.members.map(\.port)
            let names = (1...count).map { "w\($0)" }
            try await deploy(names, on: cluster)
            let load = try Generator(ports: ports, rate: rate, apps: names)
            try await Task.sleep(for: .seconds(2))
            var times: [String] = []
            for host in ["h1", "h2", "h3"] {
                let apps = try await cluster.hosts().first { $0.id == host }?.apps ?? 0
                let begin = ContinuousClock.now
                _ = try await cluster.mustDo(["drain", host])
                times.append("\(host) \((ContinuousClock.now - begin).milliseconds) ms (\(apps) apps)")
                _ = try await cluster.mustDo(["drain", host, "--undo"])
            }
            try await Task.sleep(for: .seconds(1))
            let outcomes = await load.stop()
            let pushes = try await cluster.routePushes()
            var kept: Set<Int> = []
            for name in names { kept.formUnion(try await Witness.kept(of: name, port: ports[0])) }
            print(
                "drain of three hosts in turn, \(count) apps, \(rate) writes/s and \(rate) reads/s in all, SeaweedFS"
            )
            print("  drained: \(times.joined(separator: ", "))")
            Summary.line("routes pushed to a host", pushes.milliseconds)
            Summary.print(outcomes, kept: kept, windows: [])
        }
    }

    /// Kills a host, and looks when its apps are served again.
    func failover(apps count: Int) async throws {
        try await with(["h1", "h2", "h3"]) { cluster in
            let names = (1...count).map { "w\($0)" }
            try await deploy(names, on: cluster)
            let hosts = try await cluster.hosts()
            guard let victim = hosts.max(by: { $0.apps < $1.apps }),
                let member = cluster.members.first(where: { $0.id == victim.id })
            else { return }
            // Clients that use the other hosts, as behind a balancer that leaves out a dead one.
            let ports = cluster.members.filter { $0.id != victim.id }.map(\.port)
            let load = try Generator(ports: ports, rate: rate, apps: names)
            try await Task.sleep(for: .seconds(3))
            let killed = Load.now()
            kill(member.process.processIdentifier, SIGKILL)
            try await ClusterProcesses.until("another host has every app") {
                let hosts = try await cluster.hosts()
                let others = hosts.filter { $0.id != victim.id }
                return others.reduce(0) { $0 + $1.apps } == count && others.allSatisfy { $0.moving == 0 }
            }
            try await Task.sleep(for: .seconds(3))
            let outcomes = await load.stop()
            var kept: Set<Int> = []
            for name in names { kept.formUnion(try await Witness.kept(of: name, port: ports[0])) }
            print(
                "kill -9 of a host with \(victim.apps) of \(count) apps, \(rate) writes/s and \(rate) reads/s in all, lease 6 s"
            )
            // An app's number is the request's, so each app's answers can be told apart.
            var gaps: [Int] = []
            for (index, _) in names.enumerated() {
                let own = outcomes.filter { $0.id % count == index && $0.status == 200 }
                guard own.contains(where: { $0.host == victim.id }) else { continue }
                let ends = own.filter { $0.host != victim.id }.map { $0.due + $0.nanoseconds }
                guard let first = ends.filter({ $0 > killed }).min() else { continue }
                gaps.append(Int((first - killed) / 1_000_000))
            }
            Summary.parts("kill to first answer, by app", gaps)
            Summary.print(outcomes, kept: kept, windows: [])
        }
    }

    private func deploy(_ names: [String], on cluster: ClusterProcesses) async throws {
        let source = cluster.folder.appending(path: "source")
        try FileManager.default.createDirectory(at: source, withIntermediateDirectories: true)
        for (file, text) in Witness.files { try Data(text.utf8).write(to: source.appending(path: file)) }
        var times: [Int] = []
        for name in names {
            let begin = ContinuousClock.now
            _ = try await cluster.mustDo(["deploy", source.path, "--name", name])
            times.append((ContinuousClock.now - begin).milliseconds)
        }
        Summary.parts("first deployment", times)
    }

    private func with(_ names: [String], _ body: (ClusterProcesses) async throws -> Void) async throws {
        let folder = URL(fileURLWithPath: "/tmp/martlet-bench-\(getpid())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try await SeaweedFS.with(folder: folder.appending(path: "s3").path) { server in
            let cluster = try ClusterProcesses(folder, s3: server)
            do {
                try await cluster.begin(names)
                try await body(cluster)
            } catch {
                for file in ["control", "h1", "h2", "h3"] {
                    let log = folder.appending(path: "\(file).log")
                    let text = (try? String(contentsOf: log, encoding: .utf8)) ?? ""
                    print("\(file): \(text.suffix(1500))")
                }
                cluster.stop()
                throw error
            }
            cluster.stop()
        }
    }
}

/// Figures as they are printed.
enum Summary {
    static func quantiles(_ milliseconds: [Double]) -> String {
        let sorted = milliseconds.sorted()
        guard let last = sorted.last else { return "none" }
        func quantile(_ share: Double) -> String {
            String(format: "%.0f", sorted[min(Int(Double(sorted.count) * share), sorted.count - 1)])
        }
        return "p50 \(quantile(0.5)) p99 \(quantile(0.99)) max \(String(format: "%.0f", last)) ms"
    }

    static func parts(_ name: String, _ values: [Int]) { line(name, values.map(Double.init)) }

    static func line(_ name: String, _ milliseconds: [Double]) {
        Swift.print(
            "  \(name.padding(toLength: 30, withPad: " ", startingAt: 0)) \(milliseconds.count): \(quantiles(milliseconds))"
        )
    }

    /// `windows`: when requests were held, in nanoseconds of the monotonic clock.
    static func print(_ outcomes: [Load.Outcome], kept: Set<Int>, windows: [ClosedRange<UInt64>]) {
        let failed = outcomes.filter { $0.status != 200 }
        let lost = outcomes.filter { $0.isWrite && $0.status == 200 && !kept.contains($0.id) }
        Swift.print(
            "  requests \(outcomes.count), failed \(failed.count) "
                + "\(Dictionary(grouping: failed, by: \.status).mapValues(\.count)), acknowledged rows lost \(lost.count)"
        )
        for failure in failed.prefix(5) { Swift.print("    failed: \(failure.line)") }
        func line(_ name: String, _ outcomes: [Load.Outcome]) {
            Swift.print(
                "  \(name.padding(toLength: 30, withPad: " ", startingAt: 0)) \(outcomes.count): "
                    + quantiles(outcomes.map { Double($0.nanoseconds) / 1e6 })
            )
        }
        line("all requests", outcomes)
        guard !windows.isEmpty else { return }
        let held = outcomes.filter { outcome in
            let end = outcome.due + outcome.nanoseconds
            return windows.contains { $0.contains(outcome.due) || $0.contains(end) }
        }
        line("requests held by a move", held)
        line("of which reads", held.filter { !$0.isWrite })
        line("of which writes", held.filter(\.isWrite))
    }
}
