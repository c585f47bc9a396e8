import Control
import Daemon
import Foundation

extension Main {
    /// Asleep to first byte of an app with 683 KB of TypeScript, beside Deno that is started directly for the same app,
    /// with and without the modules that it has compiled before.
    static func large(rounds: Int) async throws {
        try await Site.with { site in
            let files = LargeApp.files(bytes: 683 << 10)
            try await site.deploy("large", files)
            let folder = site.folder.appending(path: "direct")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            for (name, text) in files {
                try Data(text.utf8).write(to: folder.appending(path: name))
            }
            let script = folder.appending(path: "direct.ts")
            try Data(
                """
                const app = (await import("./main.ts")).default;
                Deno.serve({ path: Deno.args[0], onListen() {} }, app.fetch);
                """.utf8
            ).write(to: script)
            let warm = Baseline.deno(
                "Deno directly, compiled before",
                script: script.path,
                in: folder,
                cache: folder.path + "/cache"
            )
            for _ in 0..<3 { _ = await warm.measure() }
            var (woken, direct, cold): ([Double], [Double], [Double]) = ([], [], [])
            for round in 0..<rounds {
                try await site.sleep("large", .asleep)
                let answer = await site.send("large")
                if answer.status == 200 { woken.append(answer.milliseconds) }
                if let time = await warm.measure() { direct.append(time) }
                let fresh = Baseline.deno(
                    "Deno directly",
                    script: script.path,
                    in: folder,
                    cache: folder.path + "/cold-\(round)"
                )
                if let time = await fresh.measure() { cold.append(time) }
            }
            print("large app, asleep to first byte   \(Times(woken).text)")
            print("Deno directly, compiled before    \(Times(direct).text)")
            print("Deno directly, nothing compiled   \(Times(cold).text)")
        }
    }
}

extension Baseline {
    /// Starts a second that this machine does of Deno started directly, `lanes` at a time.
    static func rate(in folder: URL, lanes: Int, each: Int) async throws -> Double {
        var all: [Baseline] = []
        for lane in 0..<lanes {
            let own = folder.appending(path: "lane-\(lane)")
            try FileManager.default.createDirectory(at: own, withIntermediateDirectories: true)
            guard let deno = try Baseline.all(in: own).first else { return .nan }
            all.append(deno)
        }
        let begin = ContinuousClock.now
        await withDiscardingTaskGroup { group in
            for baseline in all {
                group.addTask { for _ in 0..<each { _ = await baseline.measure() } }
            }
        }
        return Double(lanes * each) / ((ContinuousClock.now - begin) / .seconds(1))
    }
}
