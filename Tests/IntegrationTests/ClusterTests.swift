import Foundation
import Glibc
import TestSupport
import Testing

/// A cluster with real everything: Temporal, three hosts, Litestream, Deno.
@Suite("A cluster on one machine", .serialized, .timeLimit(.minutes(5)))
struct ClusterTests {
    @Test func `an app is served by every host, moved under load, drained, and restored when its host stops`()
        async throws
    {
        try await HostFixture.with(arguments: ["--hosts", "3", "--round", "1s"]) { cluster in
            let example = HostFixture.source.appending(path: "examples/guestbook").path
            let deployed = try await cluster.martlet("deploy", example, "--name", "book")
            #expect(deployed.status == 0, "\(deployed.errors)")
            let hosts = try await Self.hosts(cluster)
            #expect(hosts.map(\.state) == ["online", "online", "online"])

            let load = LoadGenerator(app: "book", ports: hosts.map(\.port))
            load.start(clients: 4)
            let owner = try #require(hosts.first { $0.apps == 1 })
            let target = try #require(hosts.first { $0.apps == 0 })
            let moved = try await cluster.martlet("move", "book", "--to", target.id, "--json")
            #expect(moved.status == 0, "\(moved.errors)")
            let move = try JSONDecoder().decode(Moved.self, from: Data(moved.output.utf8))
            #expect(move.state == "done")
            #expect(move.steps.map(\.name) == ["prepare", "follow", "cutOver", "remove"])
            #expect(move.steps.allSatisfy { $0.milliseconds != nil }, "\(moved.output)")
            #expect(move.steps.first { $0.name == "follow" }?.bytes ?? 0 > 0, "\(moved.output)")
            let drained = try await cluster.martlet("drain", target.id, "--json")
            #expect(drained.status == 0, "\(drained.errors)")
            let empty = try JSONDecoder().decode(Drained.self, from: Data(drained.output.utf8))
            #expect(empty.state == "drained" && empty.apps == 0, "\(drained.output)")
            let afterDrain = try await Self.hosts(cluster)
            #expect(afterDrain.first { $0.id == target.id }?.apps == 0)
            #expect(afterDrain.reduce(0) { $0 + $1.apps } == 1)
            let result = await load.stop()
            #expect(result.failures == [])
            #expect(result.written.count > 10)
            #expect(Set(result.written).count == result.written.count, "No row is confirmed twice.")
            _ = try await cluster.martlet("drain", target.id, "--undo")

            let shown = try await cluster.martlet("apps", "show", "book")
            for step in ["prepare", "follow", "cutOver", "remove"] {
                #expect(shown.output.contains(step), "\(shown.output)")
            }

            // A host that stops without a word, and comes back as if nothing had been.
            let last = try #require(try await Self.hosts(cluster).first { $0.apps == 1 })
            let process = try #require(try Self.process(of: last.id, in: cluster))
            kill(process, SIGSTOP)
            try await eventually("another host has the app", within: .seconds(120)) {
                try await Self.hosts(cluster).contains { $0.apps == 1 && $0.id != last.id }
            }
            let other = try #require(try await Self.hosts(cluster).first { $0.apps == 1 })
            let before = try await Self.newest(cluster, other.port)
            #expect(
                before >= result.written.max() ?? 0,
                "At most what was not yet replicated is lost: nothing here."
            )
            kill(process, SIGCONT)
            try await eventually("the host is back, and knows that the app is elsewhere") {
                try await Self.newest(cluster, last.port) == before
            }
            _ = owner
        }
    }

    /// What `martlet move --json` prints, as far as a script needs it.
    private struct Moved: Decodable {
        struct Step: Decodable {
            var name: String
            var milliseconds: Int?
            var bytes: Int?
        }
        var state: String
        var steps: [Step]
    }

    private struct Drained: Decodable {
        var state: String
        var apps: Int
    }

    private struct Host {
        var id: String
        var state: String
        var apps: Int
        var port: Int
    }

    private static func hosts(_ cluster: HostFixture) async throws -> [Host] {
        let output = try await cluster.martlet("hosts", "--json").output
        let objects = try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [[String: Any]] ?? []
        return objects.compactMap { object in
            guard let id = object["id"] as? String, let state = object["state"] as? String,
                let apps = object["apps"] as? Int, let ingress = object["ingress"] as? [String: Any],
                let port = ingress["port"] as? Int
            else { return nil }
            return Host(id: id, state: state, apps: apps, port: port)
        }
    }

    /// The identifier of the newest entry, as a host's ingress gives it; -1 where it gives none.
    private static func newest(_ cluster: HostFixture, _ port: Int) async throws -> Int {
        let output = try await cluster.run(
            URL(filePath: "/usr/bin/env"),
            [
                "curl", "-sS", "--max-time", "30", "--noproxy", "*", "-H", "Host: book.localhost",
                "http://127.0.0.1:\(port)/entries",
            ]
        ).output
        guard let start = output.range(of: "\"id\":") else { return -1 }
        return Int(output[start.upperBound...].prefix { $0.isNumber }) ?? -1
    }

    private static func process(of host: String, in cluster: HostFixture) throws -> Int32? {
        let data = "\(cluster.folder.path)/data/hosts/\(host)"
        for entry in try FileManager.default.contentsOfDirectory(atPath: "/proc") {
            guard let process = Int32(entry),
                let line = FileManager.default.contents(atPath: "/proc/\(entry)/cmdline"),
                String(decoding: line, as: UTF8.self).split(separator: "\0").dropFirst().starts(with: [
                    "host", "--id",
                ]),
                String(decoding: line, as: UTF8.self).contains(data)
            else { continue }
            return process
        }
        return nil
    }
}
