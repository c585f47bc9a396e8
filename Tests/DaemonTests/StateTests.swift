import Control
@testable import Daemon
import Foundation
import Testing

@Suite struct StateTests {
    private func withFolder(_ body: (StateFolder) async throws -> Void) async throws {
        let path = "/tmp/martlet-state-\(UUID().uuidString.prefix(8))"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try await body(StateFolder(path: path))
    }

    @Test func `a secret can be opened again and not be moved to another name`() async throws {
        try await withFolder { folder in
            let box = try SecretBox(keyFile: folder.key)
            let sealed = try box.seal("hunter2", app: "a", name: "PASSWORD")
            #expect(!sealed.contains(Data("hunter2".utf8)))
            let again = try SecretBox(keyFile: folder.key)
            #expect(try again.open(sealed, app: "a", name: "PASSWORD") == "hunter2")
            #expect(throws: MartletError.self) { try again.open(sealed, app: "b", name: "PASSWORD") }
            let mode =
                try FileManager.default.attributesOfItem(atPath: folder.key)[.posixPermissions] as? NSNumber
            #expect(mode?.intValue == 0o600)
        }
    }

    @Test func `a key file that others may read is refused`() async throws {
        try await withFolder { folder in
            _ = try SecretBox(keyFile: folder.key)
            chmod(folder.key, 0o644)
            #expect(throws: MartletError.self) { try SecretBox(keyFile: folder.key) }
        }
    }

    @Test func `the state survives and a name belongs to its first owner`() async throws {
        try await withFolder { folder in
            let app = try ApplicationID(validating: "guestbook")
            let (ann, bob) = (try UserID(validating: "ann"), try UserID(validating: "bob"))
            let version = StateStore.Version(
                id: try VersionID(validating: String(repeating: "ab", count: 32)),
                app: app,
                createdAt: Date(),
                artifactBytes: 10,
                usesCache: false,
                main: "main.ts",
                settings: ApplicationSettings(sleepAfter: .after(.seconds(5)))
            )
            do {
                let store = try StateStore(path: folder.database)
                _ = try await store.claim(app, for: ann, now: Date())
                try await store.add(version)
                try await store.use(version, now: Date())
                await #expect(throws: MartletError.self) { try await store.claim(app, for: bob, now: Date()) }
            }
            let store = try StateStore(path: folder.database)
            let record = try #require(try store.applications().first)
            #expect(record.version == version.id)
            #expect(record.sleepAfter == .after(.seconds(5)))
            #expect(try await store.version(version.id, of: app)?.settings == version.settings)
        }
    }

    @Test func `old versions are forgotten, never the one that serves`() async throws {
        try await withFolder { folder in
            let app = try ApplicationID(validating: "guestbook")
            let store = try StateStore(path: folder.database)
            _ = try await store.claim(app, for: .local, now: Date())
            var ids: [VersionID] = []
            for number in 0..<5 {
                let id = try VersionID(validating: String(repeating: "\(number)0", count: 32))
                let version = StateStore.Version(
                    id: id,
                    app: app,
                    createdAt: Date(timeIntervalSince1970: Double(number)),
                    artifactBytes: 1,
                    usesCache: false,
                    main: "main.ts",
                    settings: ApplicationSettings()
                )
                try await store.add(version)
                try await store.use(version, now: Date(timeIntervalSince1970: Double(number)))
                ids.append(id)
            }
            #expect(try await store.versionBefore(ids[4], of: app)?.id == ids[3])
            #expect(try await store.prune(app, keeping: 2) == [ids[1], ids[0]])
            #expect(try await store.versions(of: app).map(\.id) == [ids[4], ids[3], ids[2]])
        }
    }

    @Test func `a log keeps its last lines, rotates, and can be followed`() async throws {
        try await withFolder { folder in
            var limits = AppLog.Limits()
            limits.fileBytes = 4000
            limits.oldFiles = 2
            let log = AppLog(
                app: try ApplicationID(validating: "a"),
                folder: folder.path + "/log",
                limits: limits
            )
            for number in 0..<200 { log.note("line \(number)", version: nil) }
            let files = try FileManager.default.contentsOfDirectory(atPath: folder.path + "/log").sorted()
            #expect(files == ["1.jsonl", "2.jsonl", "current.jsonl"])
            let records = log.records(since: nil, tail: 3)
            #expect(records.map(\.message) == ["line 197", "line 198", "line 199"])
            var followed: [String] = []
            let stream = log.follow(since: nil, tail: 1)
            log.note("later", version: nil)
            log.close()
            for try await record in stream { followed.append(record.message) }
            #expect(followed == ["line 199", "later"])
        }
    }

    @Test func `what the console writes is read with its level and request, and anything else is text`()
        throws
    {
        let app = try ApplicationID(validating: "a")
        let structured = Array("\u{1E}{\"level\":\"warn\",\"requestId\":\"r1\",\"text\":\"careful\"}".utf8)
        let record = OutputLine.record(structured[...], isError: false, app: app, version: nil, now: Date())
        #expect(record.level == .warn)
        #expect(record.requestID == "r1")
        #expect(record.message == "careful")
        let plain = OutputLine.record(
            Array("plain".utf8)[...],
            isError: true,
            app: app,
            version: nil,
            now: Date()
        )
        #expect(plain.stream == .stderr)
        #expect(plain.message == "plain")
    }
}
