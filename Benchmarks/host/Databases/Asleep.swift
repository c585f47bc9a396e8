import Control
import Daemon
import Foundation
import Replication

extension Main {
    /// Many apps that were replicated and went to sleep: what they cost then, beside the same host with one of them.
    static func asleep(apps: Int) async throws {
        try await Site.withS3 {
            $0.pool.minimum = 1
        } _: { site, _ in
            let first = try await site.deploy("a0", Site.small)
            try await rest(site, "a0")
            let before = try await Cost.now(site)
            for number in 1..<apps {
                try await site.daemon.copyForBenchmark(first.app, "a\(number)")
                await site.daemon.fillPool()
                let answer = await site.send("a\(number)")
                guard answer.status == 200 else { throw BenchmarkFailure("a\(number): \(answer.status)") }
                try await rest(site, "a\(number)")
            }
            let busy = try await Cost.now(site)
            // Litestream closes connections to the store that it has not used for 90 s.
            try await Task.sleep(for: .seconds(100))
            let begin = try await Cost.now(site)
            try await Task.sleep(for: .seconds(30))
            let end = try await Cost.now(site)
            print("\(apps) apps asleep, each was replicated before")
            print("  files of Litestream: \(end.files) (one app: \(before.files); just after: \(busy.files))")
            print("    \(end.kinds)")
            print("  files of the host: \(end.hostFiles) (one app: \(before.hostFiles))")
            print(
                "  in 30 s: Litestream wrote \(end.writes - begin.writes) times to anything, and used "
                    + String(format: "%.2f s of a processor", end.seconds - begin.seconds)
            )
            print(
                String(
                    format: "  memory of Litestream: %.0f MB (one app: %.0f MB)",
                    end.megabytes,
                    before.megabytes
                )
            )
        }
    }

    private static func rest(_ site: Site, _ app: String) async throws {
        try await site.sleep(app, .asleep)
        _ = try await site.daemon.databases?.settled(try ApplicationID(validating: app), within: .seconds(60))
    }
}

/// What the host's processes have open and did until now.
private struct Cost {
    var files = 0
    var kinds = ""
    var hostFiles = 0
    /// Calls to write, which each request to the store takes: `syscw` of /proc/PID/io.
    var writes = 0
    var seconds = 0.0
    var megabytes = 0.0

    static func now(_ site: Site) async throws -> Cost {
        guard let process = await site.daemon.databases?.replicator.processIdentifier else {
            throw BenchmarkFailure("Litestream does not run")
        }
        var cost = Cost()
        var kinds: [String: Int] = [:]
        for number in try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd") {
            let target = try? FileManager.default.destinationOfSymbolicLink(
                atPath: "/proc/\(process)/fd/\(number)"
            )
            guard let target else { continue }
            cost.files += 1
            kinds[target.hasPrefix("/") ? "files" : String(target.prefix { $0 != ":" }), default: 0] += 1
        }
        cost.kinds = kinds.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }.joined(separator: ", ")
        cost.hostFiles = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
        func text(_ name: String) throws -> String {
            try String(contentsOfFile: "/proc/\(process)/\(name)", encoding: .utf8)
        }
        for line in try text("io").split(separator: "\n") where line.hasPrefix("syscw:") {
            cost.writes = Int(line.dropFirst(7)) ?? 0
        }
        let fields = try text("stat").split(separator: " ")
        cost.seconds = ((Double(fields[13]) ?? 0) + (Double(fields[14]) ?? 0)) / 100
        for line in try text("status").split(separator: "\n") where line.hasPrefix("VmRSS:") {
            cost.megabytes = (Double(line.split(separator: " ")[1]) ?? 0) / 1024
        }
        return cost
    }
}
