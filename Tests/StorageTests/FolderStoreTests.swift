import Foundation
import NIOCore
import Storage
import StorageTestSupport
import Supervision
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(3))) struct `Folder store` {
    @Test func `of 32 processes that create an object exactly one wins`() async throws {
        try await withTemporaryFolder { folder in
            let store = try await FolderStore(root: folder + "/store")
            let results = try await probes(32, folder: folder) {
                ["race", folder + "/store", "race/key", "value \($0)"]
            }
            #expect(results.filter { $0 == ["won"] }.count == 1)
            #expect(results.filter { $0 == ["lost"] }.count == 31)
            let winner = try #require(results.firstIndex(of: ["won"]))
            let content = String(buffer: try await store.get(try ObjectKey("race/key")).bytes(upTo: 100))
            #expect(content == "value \(winner)")
        }
    }

    @Test func `processes that change an object by its version lose no change`() async throws {
        try await withTemporaryFolder { folder in
            let store = try await FolderStore(root: folder + "/store")
            try await store.put(try ObjectKey("count"), .string("0"))
            let results = try await probes(4, folder: folder) { _ in
                ["count", folder + "/store", "count", "25"]
            }
            #expect(results.allSatisfy { $0 == ["counted"] })
            #expect(String(buffer: try await store.get(try ObjectKey("count")).bytes(upTo: 100)) == "100")
        }
    }

    @Test func `what a killed writer left is removed, what a living one writes is not`() async throws {
        try await withTemporaryFolder { folder in
            _ = try await FolderStore(root: folder)
            let partial = folder + "/.store/partial"
            try "old".write(toFile: partial + "/1-dead", atomically: false, encoding: .utf8)
            try await Task.sleep(for: .milliseconds(10))
            let again = try await FolderStore(root: folder)
            // Young files may be a writer's that has not locked them yet.
            #expect(FileManager.default.fileExists(atPath: partial + "/1-dead"))
            #expect(try await again.listAll(prefix: "").isEmpty)
        }
    }

    @Test func `a full disk is an error that says so and leaves the old object`() async throws {
        guard getuid() == 0 else { return }
        try await withTemporaryFolder { folder in
            guard (try? await run("/bin/mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", folder])) != nil
            else { return }
            do {
                let store = try await FolderStore(root: folder + "/store")
                let key = try ObjectKey("object")
                try await store.put(key, .string("old"))
                let big = ByteBuffer(repeating: 7, count: 4 << 20)
                let error = await #expect(throws: StorageError.self) { try await store.put(key, .bytes(big)) }
                #expect(error?.code == .full)
                #expect(error?.description.contains("no space left") == true)
                #expect(String(buffer: try await store.get(key).bytes(upTo: 10)) == "old")
                try await store.put(key, .string("new"))
            } catch {
                _ = try? await run("/bin/umount", ["-l", folder])
                throw error
            }
            _ = try await run("/bin/umount", ["-l", folder])
        }
    }

    @Test func `keys that would leave the folder or hide in it are refused`() async throws {
        for path in [
            "", "/a", "a/", "a//b", "../a", "a/../b", "./a", "a\nb", String(repeating: "x", count: 256),
        ] {
            let error = #expect(throws: StorageError.self) { try ObjectKey(path) }
            #expect(error?.code == .invalid)
        }
        try await withTemporaryFolder { folder in
            let store = try await FolderStore(root: folder)
            let hidden = try ObjectKey(".store/locks/00")
            let error = await #expect(throws: StorageError.self) { try await store.put(hidden, .string("x")) }
            #expect(error?.code == .invalid)
        }
    }

    @Test func `copies keep the time of the original, which Litestream's restore goes by`() async throws {
        try await withTemporaryFolder { folder in
            let store = try await FolderStore(root: folder)
            let (one, two) = (try ObjectKey("one"), try ObjectKey("two"))
            try await store.put(one, .string("x"))
            let past = Date(timeIntervalSince1970: 1_600_000_000)
            try FileManager.default.setAttributes([.modificationDate: past], ofItemAtPath: folder + "/one")
            try await store.copy(one, to: two)
            #expect(try await store.head(two)?.modified == past)
        }
    }

    /// Starts processes that all wait for one file, and gives what each wrote.
    private func probes(
        _ count: Int,
        folder: String,
        _ arguments: @escaping @Sendable (Int) -> [String]
    ) async throws -> [[String]] {
        let gate = folder + "/go"
        return try await withThrowingTaskGroup(of: (Int, [String]).self) { group in
            for index in 0..<count {
                group.addTask { (index, try await run(product("StorageProbe"), arguments(index) + [gate])) }
            }
            group.addTask {
                try await Task.sleep(for: .seconds(1))
                try Data().write(to: URL(fileURLWithPath: gate))
                return (-1, [])
            }
            var results = [[String]](repeating: [], count: count)
            for try await (index, lines) in group where index >= 0 { results[index] = lines }
            return results
        }
    }
}
