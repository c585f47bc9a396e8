import TestSupport
import Control
@testable import Daemon
import Foundation
import Glibc
import Replication
import Storage
import StorageTestSupport
import Supervision
import Testing

/// What can happen to the store and the disk of a whole host: nothing that was acknowledged is lost, and it says what is wrong.
@Suite(.serialized) struct StoreFaultTests {
    @Test(arguments: ["corrupt", "missing"])
    func `a replica that is damaged is told with the last good time, and restored to it`(
        damage: String
    )
        async throws
    {
        try await withStore { store in
            try await HostFixture.with {
                $0.store = store
            } _: { host in
                try await host.deploy("counter", Apps.counter)
                let databases = try #require(await host.daemon.databases)
                let app = try ApplicationID(validating: "counter")
                for number in 1...4 {
                    #expect(try await host.send(to: "counter").body == "\(number)")
                    try await databases.sync(app)
                }
            }
            let folder = store.root.path + "/apps/counter/epochs/1/main.db/ltx/0/"
            let files = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
            let victim = folder + (try #require(files.dropLast().last))
            if damage == "missing" {
                try FileManager.default.removeItem(atPath: victim)
            } else {
                var bytes = try Data(contentsOf: URL(fileURLWithPath: victim))
                bytes[bytes.count / 2] ^= 0x55
                try bytes.write(to: URL(fileURLWithPath: victim))
            }
            try await HostFixture.with {
                $0.store = store
                $0.host = try HostID(validating: "other")
            } _: { host in
                let refused = try await host.send(to: "counter")
                #expect(refused.status == 503 || refused.status == 500, "\(refused)")
                #expect(refused.body.contains("the last good state is transaction"), "\(refused.body)")
                // Still so: nothing empty has taken its place.
                let app = try ApplicationID(validating: "counter")
                let error = await #expect(throws: MartletError.self) {
                    try await host.daemon.restore(app)
                }
                #expect(error?.code == .dataDamaged, "\(String(describing: error))")
                let message = try #require(error?.message)
                let time = try #require(Self.time(in: message), "\(message)")
                let databases = try #require(await host.daemon.databases)
                _ = try await databases.place(app, PlacementOrder(time: time, isOrdered: true))
                try await HostFixture.wait("it answers") {
                    let answer = try await host.send(to: "counter")
                    return answer.status == 200 && (Int(answer.body) ?? 0) >= 2
                }
            }
        }
    }

    /// The time in "the last good state is transaction 3 of 2026-11-24T07:45:42.120Z: …".
    private static func time(in message: String) -> Date? {
        guard let match = message.firstMatch(of: /transaction \d+ of ([0-9T:.-]+Z)/) else { return nil }
        return try? Date.ISO8601FormatStyle(includingFractionalSeconds: true).parse(String(match.1))
    }

    @Test func `of two hosts that both believe they own an app, one is believed`() async throws {
        try await withTemporaryFolder { folder in
            try await SeaweedFS.with(folder: folder + "/weed") { server in
                let relay = try await Relay.start(to: server.port)
                do {
                    try await twoOwners(server, relay)
                } catch {
                    relay.process.send(SIGCONT)
                    await relay.process.stop(grace: .seconds(1))
                    throw error
                }
                relay.process.send(SIGCONT)
                await relay.process.stop(grace: .seconds(1))
            }
        }
    }

    private func twoOwners(_ server: SeaweedFS, _ relay: Relay) async throws {
        func store(port: Int) throws -> HostStore {
            let configuration = try S3Configuration(
                bucket: server.bucket,
                prefix: "martlet",
                endpoint: "http://127.0.0.1:\(port)",
                region: "us-east-1",
                style: .path,
                credentials: server.credentials
            )
            var store = HostStore(
                address: .s3(configuration),
                litestream: tool("litestream"),
                isRemote: true
            )
            store.leaseDuration = .seconds(10)
            store.syncTimeout = .seconds(5)
            return store
        }
        try await HostFixture.with {
            $0.store = try store(port: relay.port)
            $0.host = try HostID(validating: "first")
        } _: { first in
            try await first.deploy("notes", GateTests.notes)
            for id in ["a", "b", "c"] {
                let answer = try await first.send("POST", "/write?db=main.db&id=\(id)", to: "notes")
                #expect(answer.status == 200, "\(answer)")
            }
            try await HostFixture.with {
                $0.store = try store(port: server.port)
                $0.host = try HostID(validating: "second")
            } _: { second in
                // The first is cut off, and knows nothing of the second.
                relay.process.send(SIGSTOP)
                let unheard = try await first.send("POST", "/write?db=main.db&id=unheard", to: "notes")
                #expect(unheard.status == 503, "\(unheard)")
                try await HostFixture.wait("the second has it", atMost: 120) {
                    let answer = try await second.send("POST", "/write?db=main.db&id=d", to: "notes")
                    return answer.status == 200
                }
                // Both are asked now.
                let refused = try await first.send("POST", "/write?db=main.db&id=late", to: "notes")
                #expect(refused.status == 503, "\(refused)")
                #expect(
                    refused.body.contains("not_owner") || refused.body.contains("lease")
                        || refused.body.contains("replica_unavailable"),
                    "\(refused.body)"
                )
                relay.process.send(SIGCONT)
                // Connected again, it finds out, and says whose the app is.
                try await HostFixture.wait("the first knows", atMost: 120) {
                    let answer = try await first.send("POST", "/write?db=main.db&id=later", to: "notes")
                    #expect(answer.status != 200, "\(answer)")
                    return answer.body.contains("second")
                }
                #expect(
                    first.said.all.contains { $0.hasPrefix("an app is no longer this host's: notes") },
                    "\(first.said.all)"
                )
                for id in ["e", "f"] {
                    let answer = try await second.send("POST", "/write?db=main.db&id=\(id)", to: "notes")
                    #expect(answer.status == 200, "\(answer)")
                }
                let databases = try #require(await second.daemon.databases)
                let app = try ApplicationID(validating: "notes")
                let epoch = try #require(await databases.epoch(of: app))
                #expect(epoch == 2)
                let path = second.folder.path + "/check.db"
                _ = try await databases.replicator.restore(
                    ReplicaLocation(app: "notes", epoch: epoch, database: "main.db"),
                    to: path,
                    at: .newest
                ) { _ in }
                let rows = try SQLiteConnection(path, .readWrite).column(
                    "select distinct id from t order by id"
                )
                #expect(rows == ["a", "b", "c", "d", "e", "f"])
            }
        }
    }

    @Test(.enabled(if: getuid() == 0, "only root may mount a small file system"))
    func `a full disk refuses gated writes, keeps what was acknowledged, and recovers when there is room`()
        async throws
    {
        let folder = URL(fileURLWithPath: "/tmp/martlet-test-\(UUID().uuidString.prefix(8).lowercased())")
        let disk = folder.path + "/state"
        try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
        _ = try await run("/bin/mount", ["-t", "tmpfs", "-o", "size=64m", "tmpfs", disk])
        defer {
            // Lazily: what is open goes on until it is closed.
            Self.unmount(disk)
            try? FileManager.default.removeItem(at: folder)
        }
        try await withStore { store in
            var configuration = try HostFixture.configuration(folder)
            configuration.limits.freeDiskBytes = 0
            configuration.store = store
            configuration.store?.isRemote = true
            configuration.store?.syncTimeout = .seconds(5)
            try await HostFixture.with(configuration, folder) { host in
                try await host.deploy("notes", GateTests.notes)
                var acknowledged: Set<String> = []
                func write(_ id: String) async throws -> HTTPClient.Answer {
                    let answer = try await host.send("POST", "/write?db=main.db&id=\(id)", to: "notes")
                    if answer.status == 200 { acknowledged.insert(id) }
                    return answer
                }
                for number in 0..<20 { #expect(try await write("before-\(number)").status == 200) }
                let filler = disk + "/filler"
                Self.fill(filler)
                var refused: [HTTPClient.Answer] = []
                for number in 0..<40 where refused.count < 3 {
                    let answer = try await write("full-\(number)")
                    if answer.status != 200 { refused.append(answer) }
                    // What a page that was there already had room for.
                    Self.fill(filler)
                }
                #expect(!refused.isEmpty)
                #expect(
                    refused.allSatisfy { [500, 503].contains($0.status) },
                    "\(refused.map { "\($0.status) \($0.body)" })"
                )
                #expect(refused.contains { $0.body.contains("disk") || $0.status == 500 })
                unlink(filler)
                try await HostFixture.wait("writes are confirmed again") {
                    try await write("after-\(acknowledged.count)").status == 200
                }
                let databases = try #require(await host.daemon.databases)
                let path = folder.path + "/check.db"
                _ = try await databases.replicator.restore(
                    ReplicaLocation(app: "notes", epoch: 1, database: "main.db"),
                    to: path,
                    at: .newest
                ) { _ in }
                let rows = Set(try SQLiteConnection(path, .readWrite).column("select id from t"))
                #expect(acknowledged.isSubset(of: rows), "\(acknowledged.subtracting(rows))")
            }
        }
    }

    private static func unmount(_ path: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/umount")
        process.arguments = ["-l", path]
        // What is mounted still makes the removal of the folder fail, which shows.
        guard (try? process.run()) != nil else { return }
        process.waitUntilExit()
    }

    private static func fill(_ path: String) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        for size in [1 << 20, 4096, 1] {
            let bytes = [UInt8](repeating: 1, count: size)
            while write(descriptor, bytes, size) == size {}
        }
    }
}

/// Passes connections on to a port of this machine; stopped by a signal, it is a network that swallows everything.
private struct Relay {
    let port: Int
    let process: Supervision.ChildProcess

    static func start(to port: Int) async throws -> Relay {
        let lines = Lines()
        let process = try Supervision.ChildProcess(
            .init(
                executable: "/usr/bin/env",
                arguments: ["python3", "-u", "-c", program, "\(port)"],
                environment: ["PATH": "/usr/local/bin:/usr/bin:/bin"]
            )
        ) { lines.add($0) }
        for _ in 0..<3000 {
            if let port = lines.all.first.flatMap({ Int($0) }) { return Relay(port: port, process: process) }
            try await Task.sleep(for: .milliseconds(10))
        }
        await process.stop(grace: .seconds(1))
        throw HTTPClient.Failure(description: "the relay did not start: \(lines.all)")
    }

    private static let program = """
        import asyncio, sys
        async def pump(reader, writer):
            try:
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
            except OSError:
                pass
            finally:
                writer.close()
        async def serve(reader, writer):
            try:
                other_reader, other_writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
            except OSError:
                writer.close()
                return
            await asyncio.gather(pump(reader, other_writer), pump(other_reader, writer), return_exceptions=True)
        async def main():
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            print(server.sockets[0].getsockname()[1])
            await server.serve_forever()
        asyncio.run(main())
        """
}
