import Control
@testable import Daemon
import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

/// What is removed from data folders before workers get them.
@Suite struct DataSweepTests {
    @Test func `links, pipes and devices go, and files, folders and sockets stay`() async throws {
        try await withTemporaryFolder { folder in
            let data = folder + "/data"
            try make(data + "/deep/er")
            for name in ["main.db", "deep/er/other.db"] { try write(data + "/" + name) }
            // A second name of an own file is an ordinary file.
            #expect(link(data + "/main.db", data + "/same.db") == 0)
            let outside = folder + "/secret"
            try write(outside)
            for (target, name) in [
                (outside, "link.db"), ("nowhere", "dangling"), ("/etc", "deep/etc"), ("..", "deep/er/up"),
            ] {
                #expect(symlink(target, data + "/" + name) == 0)
            }
            #expect(mkfifo(data + "/deep/pipe", 0o600) == 0)
            if geteuid() == 0 {
                // /dev/zero; refused where devices cannot be made.
                _ = mknod(data + "/zero", S_IFCHR | 0o600, 0x105)
            }
            let isDevice = FileManager.default.fileExists(atPath: data + "/zero")
            let swept = try DataSweep.perform(data + "/")
            #expect(swept.removed == (isDevice ? 6 : 5))
            #expect(swept.usage.files == 5, "three files and two folders")
            #expect(swept.note?.contains("removed from the data folder") == true)
            let left = try FileManager.default.subpathsOfDirectory(atPath: data).sorted()
            #expect(left == ["deep", "deep/er", "deep/er/other.db", "main.db", "same.db"])
            #expect(try String(contentsOfFile: outside, encoding: .utf8) == "text")
            let again = try DataSweep.perform(data)
            #expect(again.removed == 0 && again.first == nil && again.note == nil)
            #expect(again.usage == DiskUsage.measure(data, maximumFiles: 1000))
        }
    }

    @Test func `a folder that becomes a link while it is swept leads nowhere`() async throws {
        try await withTemporaryFolder { folder in
            let (data, victim) = (folder + "/data", folder + "/victim")
            try make(data + "/folder")
            try make(victim)
            // What the sweep would remove if it went through the link.
            for number in 0..<20 {
                #expect(symlink("x", victim + "/\(number)") == 0)
            }
            #expect(symlink(victim, data + "/link") == 0)
            let isOver = Flag()
            let attacker = Thread {
                while !isOver.isSet {
                    // The folder and the link change places.
                    rename(data + "/folder", data + "/aside")
                    rename(data + "/link", data + "/folder")
                    rename(data + "/folder", data + "/link")
                    rename(data + "/aside", data + "/folder")
                    symlink(victim, data + "/link")
                    for number in 0..<20 { symlink("x", data + "/folder/\(number)") }
                }
            }
            attacker.start()
            for _ in 0..<300 { _ = try? DataSweep.perform(data) }  // What it cannot remove now, it says.
            isOver.set()
            #expect(try FileManager.default.contentsOfDirectory(atPath: victim).count == 20)
            while attacker.isExecuting { usleep(1000) }
        }
    }

    @Test func `an app starts without the links that were put into its data`() async throws {
        try await HostFixture.with { host in
            try await host.deploy("counter", Apps.counter)
            try await host.deploy("victim", Apps.counter)
            #expect(try await host.send(to: "counter").body == "1")
            #expect(try await host.send(to: "victim").body == "1")
            try await HostFixture.wait("the app is asleep") {
                await host.daemon.putToSleep(try ApplicationID(validating: "counter"), isDeep: true)
                return try await host.state(of: "counter") == .asleep
            }
            let apps = host.folder.path + "/state/apps"
            let data = apps + "/counter/data"
            #expect(symlink(apps + "/victim/data/main.db", data + "/other.db") == 0)
            #expect(symlink("../../victim/data", data + "/folder") == 0)
            #expect(mkfifo(data + "/pipe.db", 0o600) == 0)
            #expect(try await host.send(to: "counter").body == "2")
            for name in ["other.db", "folder", "pipe.db"] {
                var status = stat()
                #expect(lstat(data + "/" + name, &status) != 0, "\(name)")
            }
            let app = try ApplicationID(validating: "counter")
            try await HostFixture.wait("the log says what was removed") {
                for try await record in try await host.daemon.logs(of: app, since: nil, follow: false)
                where record.stream == .system && record.message.contains("3 names") { return true }
                return false
            }
            #expect(try await host.send(to: "victim").body == "2")
        }
    }

    private func make(_ path: String) throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    private func write(_ path: String) throws { try Data("text".utf8).write(to: URL(fileURLWithPath: path)) }

    private final class Flag: Sendable {
        private let flag = Atomic(false)
        var isSet: Bool { flag.load(ordering: .relaxed) }
        func set() { flag.store(true, ordering: .relaxed) }
    }
}
