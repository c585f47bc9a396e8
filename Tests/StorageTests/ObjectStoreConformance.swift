import Foundation
import Logging
import NIOCore
@testable import Storage
import StorageTestSupport
import Testing

/// What every object store must do, run on a folder and on a real S3 server.
@Suite(.serialized, .timeLimit(.minutes(3))) struct `Object store conformance` {
    @Test func `a folder does all that a store must`() async throws {
        try await withTemporaryFolder { folder in
            try await Conformance(store: try await FolderStore(root: folder + "/a store")).run()
        }
    }

    @Test func `a bucket can be a part of the host's name`() async throws {
        try await withTemporaryFolder { folder in
            try await SeaweedFS.with(folder: folder, options: ["-s3.domainName=localhost"]) { server in
                let settings = try S3Configuration(
                    bucket: server.bucket,
                    prefix: "some/prefix",
                    endpoint: "http://localhost:\(server.port)",
                    region: "us-east-1",
                    style: .virtualHost,
                    credentials: server.credentials
                )
                #expect(settings.host == "dev.localhost:\(server.port)")
                let store = S3Store(configuration: settings, logger: Logger(label: "test"))
                do {
                    try await Conformance(store: store).run()
                    // The same objects by path.
                    let other = S3Store(
                        configuration: try server.configuration(prefix: "some/prefix"),
                        logger: Logger(label: "test")
                    )
                    let seen = try await other.listAll(prefix: "read/").map(\.key)
                    try await other.shutdown()
                    #expect(seen == (try await store.listAll(prefix: "read/").map(\.key)) && !seen.isEmpty)
                } catch {
                    try await store.shutdown()
                    throw error
                }
                try await store.shutdown()
            }
        }
    }

    @Test func `SeaweedFS over S3 does all that a store must`() async throws {
        try await withTemporaryFolder { folder in
            try await SeaweedFS.with(folder: folder) { server in
                var settings = try server.configuration(prefix: "some/prefix")
                settings.partBytes = 5 << 20
                let store = S3Store(configuration: settings, logger: Logger(label: "test"))
                do {
                    try await Conformance(store: store).run()
                    try await Conformance.copyInParts(store)
                    try await Conformance.readWithBoto(server, store)
                } catch {
                    try await store.shutdown()
                    throw error
                }
                try await store.shutdown()
            }
        }
    }
}

private struct Conformance {
    let store: any ObjectStore

    func run() async throws {
        try await readsBackWhatWasWritten()
        try await missingObjects()
        try await conditions()
        try await listing()
        try await copying()
        try await largeObjects()
        try await races()
    }

    func readsBackWhatWasWritten() async throws {
        for path in [
            "plain", "deep/er/key", "with space", "ünïcode/日本.db", "a+b&c=d%20?#[x]", "dots..in/.hidden",
        ] {
            let key = try ObjectKey("read/\(path)")
            let etag = try await store.put(key, .string("content of \(path)"))
            let found = try await store.get(key)
            #expect(found.info.etag == etag)
            #expect(String(buffer: try await found.bytes(upTo: 1000)) == "content of \(path)", "\(path)")
            let part = try await store.get(key, range: 3..<7)
            #expect(String(buffer: try await part.bytes(upTo: 1000)) == "tent")
            let info = try #require(try await store.head(key))
            #expect(info.sizeBytes == Int64("content of \(path)".utf8.count))
            #expect(info.etag == etag)
            #expect(abs(info.modified.timeIntervalSinceNow) < 3600)
        }
        let empty = try ObjectKey("read/empty")
        try await store.put(empty, .bytes(ByteBuffer()))
        #expect(try await store.get(empty).bytes(upTo: 10).readableBytes == 0)
    }

    func missingObjects() async throws {
        let key = try ObjectKey("missing/one")
        #expect(try await store.head(key) == nil)
        #expect(try await store.find(key) == nil)
        let error = await #expect(throws: StorageError.self) { _ = try await store.get(key) }
        #expect(error?.code == .notFound)
        try await store.delete(key)
        let copyError = await #expect(throws: StorageError.self) {
            try await store.copy(key, to: try ObjectKey("missing/two"))
        }
        #expect(copyError?.code == .notFound)
    }

    func conditions() async throws {
        let key = try ObjectKey("conditions/record.json")
        let first = try await store.put(key, .string("1"), if: .absent)
        await expectConditionFailed { _ = try await store.put(key, .string("2"), if: .absent) }
        let second = try await store.put(key, .string("2"), if: .matches(first))
        #expect(second != first)
        await expectConditionFailed { _ = try await store.put(key, .string("3"), if: .matches(first)) }
        #expect(String(buffer: try await store.get(key).bytes(upTo: 10)) == "2")
        try await store.delete(key)
        await expectConditionFailed { _ = try await store.put(key, .string("4"), if: .matches(second)) }
        #expect(try await store.head(key) == nil)
        _ = try await store.put(key, .string("5"), if: .absent)
    }

    func listing() async throws {
        let names = ["a", "a.b", "a-b/1", "a0", "b/1", "b/2", "b/sub/3", "c ü/1", "d"]
        for name in names { try await store.put(try ObjectKey("list/\(name)"), .string(name)) }
        let all = try await store.listAll(prefix: "list/")
        let expected = names.map { "list/\($0)" }.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        #expect(all.map(\.key.path) == expected)
        #expect(all.first?.sizeBytes == 1)
        #expect(
            try await store.listAll(prefix: "list/b/").map(\.key.path) == [
                "list/b/1", "list/b/2", "list/b/sub/3",
            ]
        )
        #expect(try await store.listAll(prefix: "list/nothing").isEmpty)
        var paged: [String] = []
        var after: ObjectKey?
        while true {
            let page = try await store.list(prefix: "list/", after: after, limit: 2)
            #expect(page.objects.count <= 2)
            paged += page.objects.map(\.key.path)
            after = page.objects.last?.key
            if page.isLast { break }
        }
        #expect(paged == expected)
        #expect(try await store.deleteAll(prefix: "list/b/") == 3)
        #expect(try await store.listAll(prefix: "list/b/").isEmpty)
    }

    func copying() async throws {
        let (source, target) = (try ObjectKey("copy/from ü"), try ObjectKey("copy/deep/to"))
        try await store.put(source, .string("original"))
        try await store.copy(source, to: target)
        try await store.put(source, .string("changed"))
        try await store.delete(source)
        #expect(String(buffer: try await store.get(target).bytes(upTo: 100)) == "original")
    }

    func largeObjects() async throws {
        let key = try ObjectKey("large/object")
        let piece = ByteBuffer(bytes: (0..<1_000_003).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) })
        let stream = AsyncThrowingStream<ByteBuffer, any Error> { continuation in
            for _ in 0..<13 { continuation.yield(piece) }
            continuation.finish()
        }
        let etag = try await store.put(key, .stream(stream), if: .absent)
        #expect(try await store.head(key)?.etag == etag)
        try await withTemporaryFolder { folder in
            try await store.get(key).write(toFile: folder + "/large")
            let content = try Data(contentsOf: URL(fileURLWithPath: folder + "/large"))
            #expect(content.count == 13_000_039)
            #expect(
                content
                    == (0..<13).reduce(into: Data()) { all, _ in
                        all.append(contentsOf: piece.readableBytesView)
                    }
            )
            let again = try ObjectKey("large/from file")
            try await store.put(again, .file(folder + "/large"))
            #expect(try await store.head(again)?.sizeBytes == 13_000_039)
            await expectConditionFailed {
                _ = try await store.put(key, .file(folder + "/large"), if: .absent)
            }
        }
        struct Broken: Error {}
        let failing = AsyncThrowingStream<ByteBuffer, any Error> { continuation in
            for _ in 0..<7 { continuation.yield(piece) }
            continuation.finish(throwing: Broken())
        }
        let unborn = try ObjectKey("large/unborn")
        await #expect(throws: Broken.self) { try await store.put(unborn, .stream(failing)) }
        #expect(try await store.head(unborn) == nil)
    }

    func races() async throws {
        for round in 0..<3 {
            let key = try ObjectKey("race/\(round)")
            let winners = await concurrently(32) { contender in
                _ = try await store.put(key, .string("contender \(contender)"), if: .absent)
            }
            #expect(winners.count == 1, "round \(round)")
            let content = String(buffer: try await store.get(key).bytes(upTo: 100))
            #expect(content == "contender \(winners.first ?? -1)")
            let etag = try #require(try await store.head(key)?.etag)
            let changers = await concurrently(32) { contender in
                _ = try await store.put(key, .string("changer \(contender)"), if: .matches(etag))
            }
            #expect(changers.count == 1, "round \(round)")
            #expect(
                String(buffer: try await store.get(key).bytes(upTo: 100)) == "changer \(changers.first ?? -1)"
            )
        }
    }

    /// Those whose call did not fail because of its condition.
    private func concurrently(
        _ count: Int,
        _ body: @escaping @Sendable (Int) async throws -> Void
    ) async -> [Int] {
        await withTaskGroup(of: Int?.self) { group in
            for contender in 0..<count {
                group.addTask {
                    do {
                        try await body(contender)
                        return contender
                    } catch {
                        #expect((error as? StorageError)?.code == .conditionFailed, "\(error)")
                        return nil
                    }
                }
            }
            return await group.reduce(into: []) { winners, winner in if let winner { winners.append(winner) }
            }
        }
    }

    private func expectConditionFailed(_ body: () async throws -> Void) async {
        let error = await #expect(throws: StorageError.self) { try await body() }
        #expect(error?.code == .conditionFailed, "\(String(describing: error))")
    }

    static func copyInParts(_ store: S3Store) async throws {
        let (source, target) = (try ObjectKey("large/object"), try ObjectKey("large/copied in parts"))
        try await store.copyInParts(source, to: target, partBytes: 5 << 20)
        #expect(try await store.head(target)?.sizeBytes == 13_000_039)
        let (one, two) = (try await store.get(source), try await store.get(target))
        #expect(try await one.bytes(upTo: 20 << 20) == two.bytes(upTo: 20 << 20))
    }

    /// An independent client sees the same objects.
    static func readWithBoto(_ server: SeaweedFS, _ store: S3Store) async throws {
        let script = """
            import boto3
            client = boto3.client("s3", endpoint_url="\(server.endpoint)", region_name="us-east-1")
            keys = [o["Key"] for o in client.list_objects_v2(Bucket="dev", Prefix="some/prefix/read/")["Contents"]]
            body = client.get_object(Bucket="dev", Key="some/prefix/read/with space")["Body"].read().decode()
            print(len(keys), body)
            """
        #expect(try await runPython(script, environment: server.environment) == ["7 content of with space"])
    }
}
