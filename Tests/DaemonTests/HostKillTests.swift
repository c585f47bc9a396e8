import Control
import Foundation
import Replication
import StorageTestSupport
import Supervision
import Synchronization
import TestSupport
import Testing

/// The whole host (daemon, Litestream, workers) is killed while 50 clients write to an app.
///
/// A few rounds are run with the other tests, fifty with MARTLET_SOAK.
@Suite(.serialized) struct HostKillTests {
    private static let isSoak = ProcessInfo.processInfo.environment["MARTLET_SOAK"] != nil

    @Test func `no acknowledged row of a gated app is lost when its host is killed`() async throws {
        let rounds = Self.isSoak ? 50 : 2
        try await KilledHost.with { host in
            try await host.start()
            try await host.deploy(durability: "gated")
            var acknowledged: Set<String> = []
            for round in 1...rounds {
                let written = try await host.writeUntilKilled(round: round)
                acknowledged.formUnion(written.keys)
                let rows = try await host.replicaRows()
                let lost = acknowledged.subtracting(rows)
                #expect(lost.isEmpty, "round \(round): \(lost.count) of \(acknowledged.count) lost")
                if Self.isSoak {
                    print("round \(round): \(acknowledged.count) acknowledged, \(lost.count) lost")
                }
                try await host.start()
            }
            // Then without anything that was on the host.
            _ = try await host.writeUntilKilled(round: rounds + 1)
            let before = try await host.replicaRows()
            try host.loseEverything()
            try await host.start()
            let count = try await host.count(within: .seconds(120))
            #expect(count >= before.count && before.count >= acknowledged.count)
            await host.stop()
        }
    }

    @Test func `what an app that does not wait loses with its host is about a second`() async throws {
        try await KilledHost.with { host in
            try await host.start()
            try await host.deploy(durability: "async")
            var windows: [Duration] = []
            for round in 1...(Self.isSoak ? 10 : 1) {
                let written = try await host.writeUntilKilled(round: round)
                let rows = try await host.replicaRows()
                let lost = written.filter { !rows.contains($0.key) }
                let end = written.values.max() ?? .now
                windows.append(lost.values.min().map { end - $0 } ?? .zero)
                try await host.start()
            }
            print(
                "ungated: what was lost with the host was acknowledged in its last \(windows.max() ?? .zero)"
            )
            #expect(!windows.isEmpty)
            await host.stop()
        }
    }
}

extension HostKillTests {
    @Test
    func `a clock two hours behind the store's, from the start or all at once, loses nothing and is told`()
        async throws
    {
        try await withTemporaryFolder { folder in
            let clock = try await ShiftedClock(in: folder)
            try await KilledHost.with(clock.environment) { host in
                try await host.start()
                try await host.deploy(durability: "gated")
                var acknowledged = Set(try await host.writeUntilKilled(round: 1).keys)
                #expect(!host.hasSaid("this machine's clock"))
                // Its first requests to the store are refused at once.
                try clock.shift(bySeconds: -7200)
                try await host.start()
                acknowledged.formUnion(try await host.writeUntilKilled(round: 2).keys)
                #expect(host.hasSaid("this machine's clock differs from the object store's"))
                // It is set while the host runs.
                try clock.shift(bySeconds: 0)
                try await host.start()
                try clock.shift(bySeconds: -7200)
                acknowledged.formUnion(try await host.writeUntilKilled(round: 3).keys)
                let lost = acknowledged.subtracting(try await host.replicaRows())
                #expect(lost.isEmpty, "\(lost.count) of \(acknowledged.count) lost")
                await host.stop()
            }
        }
    }
}

extension HostKillTests {
    @Test(.enabled(if: isSoak, "the first proof comes a minute after the start"))
    func `the age of the last proof is told by the metrics, and grows`() async throws {
        try await KilledHost.with { host in
            try await host.start()
            try await host.deploy(durability: "gated")
            let before = try await host.proofAge()
            #expect(before == nil)
            try await HostFixture.wait("the replica is proven", atMost: 180) {
                // The app stays awake, and its database in use.
                _ = try await host.count(within: .seconds(60))
                return try await host.proofAge() != nil
            }
            let first = try #require(try await host.proofAge())
            try await Task.sleep(for: .seconds(3))
            let second = try #require(try await host.proofAge())
            #expect(first >= 0 && second >= first + 2, "\(first), then \(second)")
            await host.stop()
        }
    }
}

/// What clients were told, until they are told to end.
private final class Acknowledgements: Sendable {
    private let state = Mutex((ids: [String: ContinuousClock.Instant](), isOver: false))
    var isOver: Bool { state.withLock { $0.isOver } }
    var all: [String: ContinuousClock.Instant] { state.withLock { $0.ids } }
    func add(_ id: String) { state.withLock { $0.ids[id] = .now } }
    func end() { state.withLock { $0.isOver = true } }
}

/// `martlet up` in a process of its own, on a real S3 server.
final class KilledHost: Sendable {
    private let folder: String
    private let server: SeaweedFS
    private let process = Mutex<ChildProcess?>(nil)
    private let output = Lines()

    private let additions: [String: String]

    private init(folder: String, server: SeaweedFS, additions: [String: String]) {
        self.folder = folder
        self.server = server
        self.additions = additions
    }

    /// `environment`: what the host has in its environment beside the usual.
    static func with(
        _ environment: [String: String] = [:],
        _ body: (KilledHost) async throws -> Void
    ) async throws {
        try await withTemporaryFolder { folder in
            try await SeaweedFS.with(folder: folder + "/weed") { server in
                let host = KilledHost(folder: folder, server: server, additions: environment)
                do { try await body(host) } catch {
                    await host.stop()
                    throw error
                }
            }
        }
    }

    private var environment: [String: String] {
        var environment = server.environment
        environment["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        environment["HOME"] = folder
        environment["MARTLET_CONFIG"] = folder + "/config.json"
        environment["TERM"] = "dumb"
        return environment
    }

    func start() async throws {
        let output = output
        let seen = output.all.count
        let child = try ChildProcess(
            .init(
                // A library that is preloaded may change the environment of the first program that it is in, and by that
                // Swift finds its arguments; env becomes the program.
                executable: "/usr/bin/env",
                arguments: [
                    product("martlet"), "up", "--port", "0", "--data", folder + "/state", "--sleep-after",
                    "1h", "--s3",
                    "s3://dev/martlet?endpoint=\(server.endpoint)&region=us-east-1&style=path",
                ],
                environment: environment.merging(additions) { _, added in added },
                folder: repositoryFolder
            )
        ) { output.add($0) }
        process.withLock { $0 = child }
        for _ in 0..<2400 {
            if output.all[seen...].contains(where: { $0.contains("Ready:") }) { return }
            guard child.status == nil else { break }
            try await Task.sleep(for: .milliseconds(50))
        }
        throw HTTPClient.Failure(description: "martlet up: " + output.all.suffix(10).joined(separator: "\n"))
    }

    /// The age of the last proof of the app's replica in seconds, as the metrics have it.
    func proofAge() async throws -> Double? {
        let metrics = try await HTTPClient.send("GET", "/metrics", host: "127.0.0.1", port: try port).body
        let line = metrics.split(separator: "\n").first {
            $0.hasPrefix("martlet_replica_proof_age_seconds{") && $0.contains("\"notes\"")
        }
        return line?.split(separator: " ").last.flatMap { Double($0) }
    }

    /// Whether a line of its output has a text.
    func hasSaid(_ text: String) -> Bool { output.all.contains { $0.contains(text) } }

    func deploy(durability: String) async throws {
        let app = folder + "/notes"
        try FileManager.default.createDirectory(atPath: app, withIntermediateDirectories: true)
        for (name, text) in GateTests.notes {
            try text.write(toFile: "\(app)/\(name)", atomically: true, encoding: .utf8)
        }
        try "{ \"name\": \"notes\", \"durability\": \"\(durability)\" }"
            .write(toFile: app + "/martlet.json", atomically: true, encoding: .utf8)
        _ = try await run(
            product("martlet"),
            ["deploy", app],
            environment: environment,
            folder: repositoryFolder
        )
    }

    private var port: UInt16 {
        get throws {
            let data = try Data(contentsOf: URL(fileURLWithPath: folder + "/config.json"))
            let object = try JSONSerialization.jsonObject(with: data) as? [String: String]
            return UInt16(object?["api"].flatMap(URL.init(string:))?.port ?? 0)
        }
    }

    /// Lets 50 clients write for a moment and kills the host; gives what was acknowledged, and when.
    func writeUntilKilled(round: Int) async throws -> [String: ContinuousClock.Instant] {
        let port = try port
        let acknowledged = Acknowledgements()
        await withTaskGroup(of: Void.self) { group in
            for client in 0..<50 {
                group.addTask {
                    var number = 0
                    while !acknowledged.isOver {
                        number += 1
                        let id = "\(round)-\(client)-\(number)"
                        // A request that breaks off was not acknowledged.
                        let answer = try? await HTTPClient.send(
                            "POST",
                            "/write?db=main.db&id=\(id)",
                            host: "notes.localhost",
                            port: port,
                            timeout: 30
                        )
                        if answer?.status == 200 { acknowledged.add(id) }
                    }
                }
            }
            for _ in 0..<2400 {
                if acknowledged.all.count > 150 { break }
                try? await Task.sleep(for: .milliseconds(50))  // Not cancelled.
            }
            try? await Task.sleep(for: .milliseconds(Int.random(in: 0..<700)))
            let child = process.withLock { $0 }
            child?.send(SIGKILL)
            _ = await child?.wait()
            acknowledged.end()
        }
        let all = acknowledged.all
        guard all.count > 50 else {
            throw HTTPClient.Failure(description: "only \(all.count) writes were acknowledged")
        }
        return all
    }

    /// What stock Litestream restores, checked in full.
    func replicaRows() async throws -> Set<String> {
        let path = "\(folder)/restored-\(UUID().uuidString.prefix(8)).db"
        let epochs = try await newestEpoch()
        let url =
            "s3://dev/martlet/apps/notes/epochs/\(epochs)/main.db?endpoint=\(server.endpoint)&region=us-east-1&forcePathStyle=true"
        _ = try await run(tool("litestream"), ["restore", "-o", path, url], environment: server.environment)
        let connection = try SQLiteConnection(path, .readWrite)
        #expect(try connection.column("PRAGMA integrity_check") == ["ok"])
        return Set(try connection.column("select id from t"))
    }

    private func newestEpoch() async throws -> Int {
        let note = "\(folder)/state/apps/notes/placement.json"
        let data = try Data(contentsOf: URL(fileURLWithPath: note))
        return (try JSONSerialization.jsonObject(with: data) as? [String: Any])?["epoch"] as? Int ?? 1
    }

    func loseEverything() throws { try FileManager.default.removeItem(atPath: folder + "/state") }

    /// How many rows the app has, once it answers.
    func count(within limit: Duration) async throws -> Int {
        let deadline = ContinuousClock.now + limit
        var last = "no answer"
        while ContinuousClock.now < deadline {
            // It may not be there yet.
            if let answer = try? await HTTPClient.send(host: "notes.localhost", port: try port) {
                if answer.status == 200, let count = Int(answer.body) { return count }
                last = "\(answer.status) \(answer.body)"
            }
            try await Task.sleep(for: .milliseconds(500))
        }
        throw HTTPClient.Failure(description: last)
    }

    func stop() async {
        let child = process.withLock { $0.take() }
        await child?.stop(grace: .seconds(30))
    }
}
