@testable import Daemon
import Foundation
import Testing

@Suite struct ControlGroupTests {
    private func withFolder(_ body: (String) throws -> Void) throws {
        let folder = "/tmp/martlet-groups-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try body(folder)
    }

    private func put(_ text: String, _ path: String) throws {
        try FileManager.default.createDirectory(
            atPath: (path as NSString).deletingLastPathComponent,
            withIntermediateDirectories: true
        )
        try text.write(toFile: path, atomically: false, encoding: .utf8)
    }

    @Test func `the layout of version 1 and a hybrid machine is read`() {
        let layout = ControlGroupDetection.Layout(
            mounts: """
                cgroup /nowhere/cpu cgroup rw,relatime,cpu 0 0
                cgroup /nowhere/memory cgroup rw,relatime,memory 0 0
                cgroup2 /nowhere/unified cgroup2 rw,relatime 0 0
                """,
            membership: "4:memory:/a/b\n1:cpu:/\n0::/\n"
        )
        #expect(layout.trees == ["cpu": "/nowhere/cpu", "memory": "/nowhere/memory"])
        #expect(layout.unified == .init(path: "/nowhere/unified", controllers: [], isRoot: true))
    }

    @Test func `version 2 writes its limits in its own words`() throws {
        try withFolder { folder in
            try put("cpuset cpu io memory pids\n", folder + "/cgroup.controllers")
            for file in ["cgroup.subtree_control", "cgroup.procs"] { try put("", folder + "/" + file) }
            // What the kernel makes with each folder, this tree has before.
            let own = folder + "/martlet"
            for file in ["cgroup.subtree_control", "cgroup.freeze"] { try put("", own + "/" + file) }
            for file in [
                "memory.max", "memory.swap.max", "cpu.max", "pids.max", "cgroup.freeze", "io.max", "cpu.idle",
            ] {
                try put("", own + "/w1/" + file)
            }
            try put("populated 1\nfrozen 1\n", own + "/w1/cgroup.events")
            try put("low 0\noom_kill 3\n", own + "/w1/memory.events")
            try put("12345\n", own + "/w1/memory.current")
            let groups = try #require(ControlGroupsV2(tree: folder, name: "martlet", isRoot: true))
            #expect(groups.features == [.all, .reads])
            #expect(groups.summary == "v2 (memory, cpu, pids, freezer, io)")
            let group = try groups.make("w1")
            try group.set(
                .init(
                    memoryBytes: 1 << 20,
                    cpu: 0.5,
                    processes: 10,
                    reads: .init(disk: "8:0", bytesPerSecond: 1000)
                )
            )
            let read = { ControlGroupDetection.text(own + "/w1/" + $0) }
            #expect(read("memory.max") == "1048576")
            #expect(read("memory.swap.max") == "0")
            #expect(read("cpu.max") == "25000 50000")
            #expect(read("pids.max") == "10")
            #expect(read("io.max") == "8:0 rbps=1000")
            group.setYielding(true)
            #expect(read("cpu.idle") == "1")
            try group.brake()
            #expect(read("cgroup.freeze") == "1")
            try group.thaw()
            try group.freeze()
            #expect(read("cgroup.freeze") == "1")
            #expect(group.memoryBytes() == 12345)
            #expect(group.outOfMemoryKills() == 3)
            #expect(groups.existing().map(\.name) == ["w1"])
        }
    }

    @Test func `empty groups of daemons that are gone are removed, and others stay`() throws {
        try withFolder { folder in
            let own = ControlFolder(path: folder + "/martlet-own")
            for name in ["martlet-own", "martlet-gone/w1", "martlet-gone/w2", "martlet-busy/w1", "other"] {
                try FileManager.default.createDirectory(
                    atPath: folder + "/" + name,
                    withIntermediateDirectories: true
                )
            }
            // In the kernel's tree, processes keep a group; in this one, a file does.
            try put("", folder + "/martlet-busy/w1/process")
            own.removeEmptyDaemons(olderThan: .seconds(3600))
            #expect(
                ControlFolder(path: folder).folders().sorted() == ["martlet-busy", "martlet-gone", "other"]
            )
            own.removeEmptyDaemons(olderThan: .zero)
            #expect(ControlFolder(path: folder).folders().sorted() == ["martlet-busy", "other"])
        }
    }

    @Test(.enabled(if: geteuid() == 0, "control groups take root"))
    func `this machine's own groups take limits, stop and yield`() throws {
        let name = "martlet-test-\(UUID().uuidString.prefix(8).lowercased())"
        let groups = ControlGroupDetection.detect(name: name)
        defer { groups.close() }
        guard groups.features.isSuperset(of: .all) else { return }
        try exercise(groups)
    }

    /// The kernel's part of version 2, also where version 1 has the controllers: then the tree has only the freezer.
    @Test(.enabled(if: geteuid() == 0, "mounting takes root"))
    func `this kernel's tree of version 2 stops, yields and ends`() throws {
        try withFolder { folder in
            guard run("/bin/mount", "-t", "cgroup2", "none", folder) == 0 else { return }
            defer { _ = run("/bin/umount", "-l", folder) }
            let name = "martlet-test-\(UUID().uuidString.prefix(8).lowercased())"
            let groups = try #require(ControlGroupsV2(tree: folder, name: name, isRoot: true))
            defer { groups.close() }
            #expect(groups.features.contains(.freezer))
            try exercise(groups)
            #expect(groups.existing().isEmpty)
        }
    }

    private func run(_ program: String, _ arguments: String...) -> Int32 {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.standardError = FileHandle.nullDevice
        do { try process.run() } catch { return -1 }
        process.waitUntilExit()
        return process.terminationStatus
    }

    private func exercise(_ groups: any ControlGroups) throws {
        let group = try groups.make("w1")
        defer { #expect(group.destroy()) }
        try group.set(ControlGroupLimits(memoryBytes: 64 << 20, cpu: 0.5, processes: 8))
        let child = Process()
        child.executableURL = URL(fileURLWithPath: "/bin/sh")
        child.arguments = ["-c", "while :; do :; done"]
        try child.run()
        defer {
            if child.isRunning { kill(child.processIdentifier, SIGKILL) }
            child.waitUntilExit()
        }
        let entrances = try group.entrances()
        for entrance in entrances {
            let text = "\(child.processIdentifier)"
            #expect(write(entrance, text, text.utf8.count) == text.utf8.count)
            close(entrance)
        }
        #expect(group.processes() == [child.processIdentifier])
        group.setYielding(true)
        for _ in 0..<1000 where group.usage().cpu == .zero { usleep(10_000) }
        #expect(group.usage().cpu > .zero)
        try group.freeze()
        let stopped = group.usage().cpu
        usleep(100_000)
        #expect(group.usage().cpu == stopped)
        group.setYielding(false)
        try group.thaw()
        for _ in 0..<1000 where group.usage().cpu == stopped { usleep(10_000) }
        #expect(group.usage().cpu > stopped)
        // One that is stopped ends too.
        try group.brake()
        group.kill()
        child.waitUntilExit()
        #expect(child.terminationReason == .uncaughtSignal)
        #expect(group.processes() == [])
    }

    @Test func `a machine without control groups says so`() {
        let groups = ControlGroupDetection.detect(name: "x", mounts: "", membership: "")
        #expect(groups.features.missing == ["memory", "cpu", "pids", "freezer"])
        #expect(throws: SystemError.self) { try groups.make("w").freeze() }
    }

    @Test func `a line splitter cuts lines, joins pieces and bounds what is long`() {
        var splitter = LineSplitter(maximumBytes: 8)
        var lines: [String] = []
        func feed(_ text: String) {
            var text = text
            text.withUTF8 { bytes in
                splitter.feed(UnsafeRawBufferPointer(bytes)) {
                    lines.append(String(decoding: $0, as: UTF8.self))
                }
            }
        }
        feed("one\ntw")
        feed("o\n")
        feed("0123456789ab\nx")
        splitter.finish { lines.append(String(decoding: $0, as: UTF8.self)) }
        #expect(lines == ["one", "two", "01234567", "89ab", "x"])
    }

    @Test func `messages of a harness are believed with its own key alone`() {
        let ready = Array(#"{"type":"ready","key":"k","deno":"2.9.8"}"#.utf8)
        #expect(WorkerMessage(line: ready, key: nil) == .ready(key: "k", deno: "2.9.8"))
        let failed = #"{"type":"failed","key":"KEY","message":"boom","file":"main.ts","line":3}"#
        let mine = Array(failed.replacingOccurrences(of: "KEY", with: "k").utf8)
        guard case .failed(let failure) = WorkerMessage(line: mine, key: "k") else {
            Issue.record("the message was not read")
            return
        }
        #expect(failure.summary == "boom (main.ts:3)")
        #expect(WorkerMessage(line: Array(failed.utf8), key: "k") == nil)
        #expect(WorkerMessage(line: Array("nonsense".utf8), key: nil) == nil)
    }
}
