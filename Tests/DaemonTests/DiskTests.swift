import Control
@testable import Daemon
import Foundation
import TestSupport
import Testing

/// A host whose disk is full indeed: a small file system that the test mounts, which takes root.
@Suite(.serialized) struct DiskTests {
    @Test(.enabled(if: getuid() == 0, "only root may mount a small file system"))
    func `a full disk fails what needs room with a reason, and nothing else`() async throws {
        let folder = URL(fileURLWithPath: "/tmp/martlet-test-\(UUID().uuidString.prefix(8).lowercased())")
        let disk = folder.path + "/state"
        try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
        try Self.run("mount", ["-t", "tmpfs", "-o", "size=48m", "tmpfs", disk])
        defer {
            // Lazily: what is open goes on until it is closed.
            try? Self.run("umount", ["-l", disk])
            try? FileManager.default.removeItem(at: folder)
        }
        var configuration = try HostFixture.configuration(folder)
        configuration.limits.freeDiskBytes = 0
        try await HostFixture.with(configuration, folder) { host in
            try await host.deploy("counter", Apps.counter)
            #expect(try await host.send(to: "counter").body == "1")

            // The archive is small, and what is in it does not fit.
            let before = StateFolder.freeBytes(disk) ?? 0
            var large = Apps.saying("large")
            large["zeros.txt"] = String(repeating: "0", count: 64 << 20)
            let unpacked = try await failure { try await host.deploy("large", large) }
            #expect(unpacked.code == .diskFull, "\(unpacked)")
            try await HostFixture.wait("what was written is removed") {
                (StateFolder.freeBytes(disk) ?? 0) > before - (4 << 20)
            }

            // Not a byte is left.
            let filler = disk + "/filler"
            try Self.fill(filler)
            let next = try await failure { try await host.deploy("next", Apps.saying("next")) }
            #expect(next.code == .diskFull, "\(next)")
            #expect(next.message.contains("disk"), "\(next.message)")
            let app = try ApplicationID(validating: "counter")
            let variable = EnvironmentVariable(
                name: "LONG",
                value: String(repeating: "x", count: 16_000),
                isSecret: false
            )
            let set = try await failure { try await host.daemon.setEnvironment([variable], of: app) }
            #expect(set.code == .diskFull, "\(set)")
            // The app gets its own error from its database, or has room left in a page that it had.
            let answer = try await host.send(to: "counter")
            #expect([200, 500].contains(answer.status), "\(answer)")

            unlink(filler)
            // The kernel counts what is free a little later.
            try await HostFixture.wait("there is room again") { (StateFolder.freeBytes(disk) ?? 0) > 1 << 20 }
            try await host.deploy("next", Apps.saying("next"))
            #expect(try await host.send(to: "next").body == "next")
            #expect(try await host.send(to: "counter").status == 200)
            let names = try await host.daemon.applications().map(\.id.rawValue)
            #expect(names == ["counter", "next"])
        }
    }

    private func failure<Value>(_ body: () async throws -> Value) async throws -> MartletError {
        do { _ = try await body() } catch let error as MartletError { return error }
        throw HTTPClient.Failure(description: "there was room")
    }

    private static func fill(_ path: String) throws {
        let fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        guard fd >= 0 else { throw HTTPClient.Failure(description: "the filler cannot be made") }
        defer { close(fd) }
        for size in [1 << 20, 4096, 1] {
            let bytes = [UInt8](repeating: 1, count: size)
            while write(fd, bytes, size) == size {}
        }
    }

    private static func run(_ program: String, _ arguments: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [program] + arguments
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw HTTPClient.Failure(description: "\(program) exited with \(process.terminationStatus)")
        }
    }
}
