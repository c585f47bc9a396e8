import Archive
import Control
import Daemon
import Foundation
import Glibc
import Synchronization

/// What a neighbour notices of apps that go beyond their limits.
enum Bombs {
    /// Paths of the attacking app (`Tests/DaemonTests/Hostile/bombs.ts`).
    static let paths = [
        "loop", "heap", "buffers", "wasm", "file", "files", "inodes", "threads", "forks", "log", "endless",
        "headers",
    ]

    private static let rounds = 3
    /// The ratio of the neighbour's p99 that is to be kept.
    private static let goal = 1.5

    /// Prints the neighbour's p99 during each bomb beside its quiet p99, measured in turn.
    static func run(only: String?, seconds: Double) async throws {
        try await Site.with {
            $0.limits.diskFiles = 20_000
        } _: { site in
            try await site.deploy("neighbour", Site.small)
            try await deployAttacker(site)
            // The sandbox of each bomb is warm before it is measured; what it costs then is the bomb itself.
            _ = await site.send("neighbour")
            print(
                "neighbour's answers, one after the other; quiet and with a bomb, \(seconds) s each, \(rounds) times in turn"
            )
            try await machine(site, seconds)
            var (worst, kept, count) = (0.0, 0, 0)
            let chosen = only.map { Set($0.split(separator: ",").map(String.init)) }
            for path in paths where chosen?.contains(path) ?? true {
                var (quiet, loud): ([Double], [Double]) = ([], [])
                var (failed, bombs) = (0, 0)
                var ratios: [String] = []
                for round in 0..<rounds {
                    // An app that ends again and again is left alone for longer and longer, so there are several.
                    let names = (0..<4).map { "bomb-\(path)-\(round)-\($0)" }
                    for name in names {
                        try await site.daemon.copyForBenchmark(ApplicationID(validating: "attacker"), name)
                    }
                    await site.daemon.fillPool()
                    // What the round before has left, on the disk too, is no part of this one.
                    sync()
                    try await Task.sleep(for: .milliseconds(200))
                    let calm = await measure(site, seconds, &failed)
                    let stop = Stop()
                    let bomber = Task.detached { await bomb(site, names, path, stop) }
                    let hit = await measure(site, seconds, &failed)
                    (quiet, loud) = (quiet + calm, loud + hit)
                    ratios.append(ratio(hit, calm))
                    stop.set()
                    bombs += await bomber.value
                    for name in names {
                        try await site.daemon.killWorkers(of: ApplicationID(validating: name))
                    }
                }
                let ratio = report(path, quiet, loud, ratios, "failed \(failed), bombs \(bombs)")
                (worst, kept, count) = (max(worst, ratio), kept + (ratio <= goal ? 1 : 0), count + 1)
            }
            print(String(format: "worst ratio of p99: %.2f; %d of %d keep %.1f", worst, kept, count, goal))
        }
    }

    /// Prints what the neighbour notices of a loop that the kernel runs only where nobody else wants the processor.
    ///
    /// It is the baseline: what is left of it is the machine's own (cores that share a physical one, caches, switches),
    /// and no limit on an app's use of the processor can do better.
    private static func machine(_ site: Site, _ seconds: Double) async throws {
        var (quiet, loud): ([Double], [Double]) = ([], [])
        var ratios: [String] = []
        var failed = 0
        for _ in 0..<rounds {
            let calm = await measure(site, seconds, &failed)
            let loop = Process()
            loop.executableURL = URL(fileURLWithPath: "/usr/bin/chrt")
            loop.arguments = ["--idle", "0", "/bin/sh", "-c", "while :; do :; done"]
            try loop.run()
            let hit = await measure(site, seconds, &failed)
            // It inherits that SIGTERM is ignored.
            kill(loop.processIdentifier, SIGKILL)
            while loop.isRunning { try await Task.sleep(for: .milliseconds(10)) }
            (quiet, loud) = (quiet + calm, loud + hit)
            ratios.append(ratio(hit, calm))
        }
        _ = report(
            "(idle)",
            quiet,
            loud,
            ratios,
            "failed \(failed); a loop of the lowest class, outside of Martlet"
        )
    }

    private static func ratio(_ loud: [Double], _ quiet: [Double]) -> String {
        String(format: "%.1f", Times(loud).quantile(0.99) / Times(quiet).quantile(0.99))
    }

    /// Prints a line, and returns the ratio of the two p99.
    private static func report(
        _ name: String,
        _ quiet: [Double],
        _ loud: [Double],
        _ ratios: [String],
        _ rest: String
    ) -> Double {
        let (before, during) = (Times(quiet), Times(loud))
        let ratio = during.quantile(0.99) / before.quantile(0.99)
        print(
            String(
                format: "%-8@ quiet p50 %6.2f p99 %6.2f ms   bomb p50 %6.2f p99 %6.2f ms   x%.2f (%@)   %@",
                name as NSString,
                before.quantile(0.5),
                before.quantile(0.99),
                during.quantile(0.5),
                during.quantile(0.99),
                ratio,
                ratios.joined(separator: " ") as NSString,
                rest as NSString
            )
        )
        fflush(nil)
        return ratio
    }

    private final class Stop: Sendable {
        private let flag = Atomic(false)
        func set() { flag.store(true, ordering: .relaxed) }
        var isSet: Bool { flag.load(ordering: .relaxed) }
    }

    private static func measure(_ site: Site, _ seconds: Double, _ failed: inout Int) async -> [Double] {
        let end = ContinuousClock.now + .seconds(seconds)
        var times: [Double] = []
        while ContinuousClock.now < end {
            let answer = await site.send("neighbour")
            if answer.status == 200 { times.append(answer.milliseconds) } else { failed += 1 }
            try? await Task.sleep(for: .milliseconds(2))  // Never cancelled.
        }
        return times
    }

    /// Sets the bomb off again and again, in the next app where the host answers for one that it leaves alone.
    ///
    /// A client that is told so by all of them waits a little. Returns how often it went off.
    private static func bomb(_ site: Site, _ apps: [String], _ path: String, _ stop: Stop) async -> Int {
        var (count, refused) = (0, 0)
        var index = 0
        while !stop.isSet {
            let app = apps[index % apps.count]
            let answer = await Client.send(host: "\(app).localhost", port: site.port, path: "/\(path)")
            guard answer.status == 503 else {
                (count, refused) = (count + 1, 0)
                continue
            }
            (index, refused) = (index + 1, refused + 1)
            // Never cancelled.
            if refused >= apps.count { try? await Task.sleep(for: .milliseconds(50)) }
        }
        return count
    }

    private static func deployAttacker(_ site: Site) async throws {
        let source = site.folder.appending(path: "attacker")
        let scripts = Site.root.appending(path: "Tests/DaemonTests/Hostile")
        try FileManager.default.copyItem(at: scripts, to: source)
        let settings =
            "{ \"limits\": { \"memory\": \"128MiB\", \"disk\": \"256MiB\", \"requestTimeout\": \"3s\", \"cpu\": 0.5 } }"
        try Data(settings.utf8).write(to: source.appending(path: "martlet.json"))
        let archive = site.folder.appending(path: "attacker.tar.gz")
        _ = try ArchiveWriter().pack(source, to: archive)
        _ = try await site.daemon.deploy(
            Upload(name: ApplicationID(validating: "attacker"), archive: archive, owner: .local)
        ) { _ in }
    }
}
