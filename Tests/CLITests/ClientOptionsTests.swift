import Control
import ControlClient
import Foundation
import Testing

@testable import CLI

struct ClientOptionsTests {
    private let file = ClientConfiguration(api: "http://127.0.0.1:9000", token: "martlet_of_the_file")

    @Test func `options win over the environment, and that over the file`() throws {
        let environment = [
            "MARTLET_API": "http://localhost:9001", "MARTLET_TOKEN": "martlet_of_the_environment",
        ]
        let all = try ClientOptions.resolve(
            api: "http://localhost:9002",
            token: "martlet_of_the_option",
            environment: environment,
            file: file
        )
        #expect(all.endpoint.port == 9002)
        #expect(all.token?.secret == "martlet_of_the_option")
        let two = try ClientOptions.resolve(api: nil, token: nil, environment: environment, file: file)
        #expect(two.endpoint.port == 9001)
        #expect(two.token?.secret == "martlet_of_the_environment")
        let one = try ClientOptions.resolve(api: nil, token: nil, environment: [:], file: file)
        #expect(one.endpoint.port == 9000)
        #expect(one.token?.secret == "martlet_of_the_file")
        let none = try ClientOptions.resolve(api: nil, token: nil, environment: [:], file: nil)
        #expect("\(none.endpoint)" == "http://127.0.0.1:8080")
        #expect(none.token == nil)
    }

    @Test func `the file's token is not sent to another API`() throws {
        let other = try ClientOptions.resolve(
            api: "http://example.com",
            token: nil,
            environment: [:],
            file: file
        )
        #expect(other.token == nil)
        #expect(!other.endpoint.protectsToken)
    }

    @Test func `the configuration file is for its owner alone and comes back as it was`() throws {
        let folder = FileManager.default.temporaryDirectory.appending(
            path: "martlet-cli-\(UUID().uuidString)"
        )
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appending(path: "deep/config.json")
        #expect(try ClientConfiguration.read(path) == nil)
        try file.write(path)
        #expect(try ClientConfiguration.read(path) == file)
        let mode = try FileManager.default.attributesOfItem(atPath: path.path)[.posixPermissions] as? Int
        #expect(mode == 0o600)
        try Data("{".utf8).write(to: path)
        let error = #expect(throws: MartletError.self) { try ClientConfiguration.read(path) }
        #expect(error?.message.contains("Remove it, and `martlet up` writes it anew") == true)
    }

    @Test func `a token is made once and kept for its owner alone`() throws {
        let folder = FileManager.default.temporaryDirectory.appending(
            path: "martlet-cli-\(UUID().uuidString)"
        )
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let token = try SecretFile.token(in: folder)
        #expect(try SecretFile.token(in: folder) == token)
        let mode =
            try FileManager.default.attributesOfItem(atPath: folder.path + "/token")[.posixPermissions]
            as? Int
        #expect(mode == 0o600)
    }

    @Test(arguments: [("10m", -600.0), ("1h30m", -5400), ("2026-11-24T06:15:04Z", 904)])
    func `since takes a duration or a time`(_ text: String, _ offset: Double) throws {
        let now = try #require(JSONFormat.date("2026-11-24T06:00:00Z"))
        #expect(try Logs.start(text, now: now).timeIntervalSince(now) == offset)
    }

    @Test func `a table's columns are as wide as their content`() {
        var table = TextTable(["app", "state"])
        table.add(["guestbook", "running"])
        #expect(table.lines == ["app        state", "guestbook  running"])
    }
}
