import Foundation
import TestSupport
import Testing

/// What is left of a host on the machine once it is gone.
@Suite(.serialized)
struct OrphanTests {
    @Test
    func `a host that is killed leaves nothing that runs, and one that is stopped leaves nothing at all`()
        async throws
    {
        try await HostFixture.with { host in
            #expect(try await host.martlet("deploy", "examples/guestbook").status == 0)
            #expect(try await host.request("guestbook", "/").output.hasSuffix("200"))
            let before = Machine.processes(of: host.folder.path)
            #expect(before.contains { $0.program == "bwrap" }, "\(before)")
            #expect(before.contains { $0.program == "deno" }, "\(before)")
            let groups = Set(before.compactMap(\.group))

            await host.kill()
            for process in before {
                try await eventually("\(process) has ended") { !process.isAlive }
            }
            #expect(Machine.mounts(in: host.folder.path).isEmpty)

            try await host.start()
            #expect(try await host.request("guestbook", "/").output.hasSuffix("200"))
            let status = await host.stop()
            #expect(status == 0, "\(host.log)")
            let after = Machine.processes(of: host.folder.path)
            #expect(after.isEmpty, "\(after)")
            #expect(Machine.mounts(in: host.folder.path).isEmpty)
            for group in groups {
                #expect(Machine.controlGroups(named: group).isEmpty)
            }
            let run = host.folder.appending(path: "data/run").path
            let sockets = (try? FileManager.default.contentsOfDirectory(atPath: run)) ?? []
            #expect(sockets.isEmpty, "\(sockets)")
        }
    }
}

/// What the machine knows of processes, mounts and control groups.
enum Machine {
    struct Entry: CustomStringConvertible {
        let id: Int32
        let program: String
        /// In clock ticks since the machine's boot; an id alone may be used again.
        let startTime: String
        /// The host's control group, where it is in one.
        let group: String?

        var description: String { "\(program) (\(id))" }
        var isAlive: Bool { Machine.startTime(id) == startTime }
    }

    /// Those that name the folder in their arguments, and those in the same control groups of a host.
    static func processes(of folder: String) -> [Entry] {
        let all = ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap {
            Int32($0)
        }
        let named = all.filter { text("/proc/\($0)/cmdline").contains(folder) }
        let groups = Set(named.compactMap(group))
        return all.filter { id in named.contains(id) || group(id).map(groups.contains) == true }.compactMap {
            id in
            guard let time = startTime(id) else { return nil }
            let name = text("/proc/\(id)/comm").trimmingCharacters(in: .whitespacesAndNewlines)
            return Entry(id: id, program: name, startTime: time, group: group(id))
        }
    }

    static func processes(ofUser user: UInt32) -> [Entry] {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return all.compactMap { Int32($0) }.compactMap { id in
            guard text("/proc/\(id)/status").contains("\nUid:\t\(user)\t"), let time = startTime(id) else {
                return nil
            }
            let name = text("/proc/\(id)/comm").trimmingCharacters(in: .whitespacesAndNewlines)
            return Entry(id: id, program: name, startTime: time, group: group(id))
        }
    }

    static func mounts(in folder: String) -> [String] {
        text("/proc/self/mounts").split(separator: "\n").map(String.init).filter { $0.contains(folder) }
    }

    static func controlGroups(named name: String) -> [String] {
        let roots = text("/proc/self/mounts").split(separator: "\n").compactMap { line -> String? in
            let words = line.split(separator: " ")
            return words.count > 2 && words[2].hasPrefix("cgroup") ? String(words[1]) : nil
        }
        return roots.flatMap { root -> [String] in
            let below = FileManager.default.enumerator(atPath: root)?.compactMap { $0 as? String } ?? []
            return below.filter { $0.split(separator: "/").contains(Substring(name)) }
        }
    }

    private static func group(_ id: Int32) -> String? {
        text("/proc/\(id)/cgroup").split(whereSeparator: { $0 == "/" || $0 == "\n" || $0 == ":" })
            .first { $0.hasPrefix("martlet-") }.map(String.init)
    }

    private static func startTime(_ id: Int32) -> String? {
        let stat = text("/proc/\(id)/stat")
        guard let end = stat.lastIndex(of: ")") else { return nil }
        let fields = stat[stat.index(after: end)...].split(separator: " ")
        // A process that only waits to be reaped runs no more.
        return fields.count > 19 && fields[0] != "Z" ? String(fields[19]) : nil
    }

    private static func text(_ path: String) -> String {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}
