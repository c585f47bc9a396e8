import Control
import Daemon
import Foundation

/// Measures a host: `martlet-host-benchmark wake|storm|many|deploys|bombs|isolation|large [COUNT]`, from the root of the source tree;
/// and its databases in an object store: `gated [SECONDS]`, `database-wake [ROUNDS]`, `asleep [APPS]`.
@main
enum Main {
    static func main() async throws {
        let arguments = CommandLine.arguments.dropFirst()
        let count = arguments.dropFirst().first.flatMap(Int.init)
        switch arguments.first {
        case "wake": try await wake(rounds: count ?? 40)
        case "storm": try await storm(apps: count ?? 200)
        case "many": try await many(apps: count ?? 10_000)
        case "deploys": try await deploys(count: count ?? 1000)
        case "bombs":
            try await Bombs.run(only: arguments.dropFirst(2).first, seconds: Double(count ?? 3))
        case "isolation": try await IsolationCost.run(rounds: count ?? 40)
        case "large": try await large(rounds: count ?? 15)
        case "gated": try await gated(seconds: count ?? 3)
        case "database-wake": try await databaseWake(rounds: count ?? 30)
        case "asleep": try await asleep(apps: count ?? 1000)
        case "serve": try await serve(arguments.dropFirst().first ?? "")
        default:
            print(
                "usage: martlet-host-benchmark wake|storm|many|deploys|bombs|isolation|large|gated|database-wake|asleep [COUNT], "
                    + "or serve FOLDER"
            )
            exit(2)
        }
    }

    /// Serves a folder until the process is ended, with one app in it, and prints the port.
    private static func serve(_ folder: String) async throws {
        try await Site.with(Site.configuration(URL(fileURLWithPath: folder))) { site in
            if try await site.daemon.applications().isEmpty { try await site.deploy("counter", Site.small) }
            FileHandle.standardOutput.write(Data("port \(site.port)\n".utf8))
            while !Task.isCancelled { try await Task.sleep(for: .seconds(3600)) }
        }
    }

    /// Asleep to first byte, each round beside a runtime that is started directly for the same app.
    private static func wake(rounds: Int) async throws {
        try await Site.with { site in
            try await site.deploy("small", Site.small)
            let baselines = try Baseline.all(in: site.folder)
            var (hot, frozen, stopped): ([Double], [Double], [Double]) = ([], [], [])
            var direct = [[Double]](repeating: [], count: baselines.count)
            var failed = 0
            func measure(_ times: inout [Double]) async {
                let answer = await site.send("small")
                if answer.status == 200 { times.append(answer.milliseconds) } else { failed += 1 }
            }
            for _ in 0..<rounds {
                try await site.sleep("small", .asleep)
                await site.daemon.fillPool()
                await measure(&stopped)
                await measure(&hot)
                try await site.sleep("small", .frozen)
                await measure(&frozen)
                for (index, baseline) in baselines.enumerated() {
                    if let time = await baseline.measure() { direct[index].append(time) }
                }
            }
            print("asleep (stopped) to first byte   \(Times(stopped).text)")
            print("asleep (frozen) to first byte    \(Times(frozen).text)")
            print("hot                              \(Times(hot).text)")
            for (baseline, times) in zip(baselines, direct) {
                print(
                    "\(baseline.name.padding(toLength: 33, withPad: " ", startingAt: 0))\(Times(times).text)"
                )
            }
            print("failed requests                  \(failed)")
        }
    }

    /// Wakes many apps at once.
    private static func storm(apps: Int) async throws {
        try await Site.with { site in
            let deployment = try await site.deploy("a0", Site.small)
            for number in 1..<apps { try await site.daemon.copyForBenchmark(deployment.app, "a\(number)") }
            try await site.sleep("a0", .asleep)
            // The baseline: as many starts one after the other, with the pool full each time.
            var alone: [Double] = []
            for number in 0..<10 {
                await site.daemon.fillPool()
                alone.append(await site.send("a\(number)").milliseconds)
                try await site.sleep("a\(number)", .asleep)
            }
            await site.daemon.fillPool()
            let direct = try await Baseline.rate(in: site.folder, lanes: 4, each: 8)
            let begin = ContinuousClock.now
            let answers = await withTaskGroup(of: Client.Answer.self) { group in
                for number in 0..<apps { group.addTask { await site.send("a\(number)") } }
                return await group.reduce(into: []) { $0.append($1) }
            }
            let seconds = (ContinuousClock.now - begin) / .seconds(1)
            let failed = answers.count { $0.status != 200 }
            print(String(format: "Deno started directly, 4 at a time: %.0f starts a second", direct))
            print("one after the other    \(Times(alone).text)")
            print("\(apps) at once           \(Times(answers.map(\.milliseconds)).text)")
            print(
                String(
                    format: "all answered after %.1f s (%.0f starts a second), failed: %d",
                    seconds,
                    Double(apps) / seconds,
                    failed
                )
            )
        }
    }

    /// A host with many apps that are all asleep, beside one with ten.
    private static func many(apps: Int) async throws {
        for count in [10, apps] {
            try await Site.with {
                $0.pool.minimum = 1
            } _: { site in
                let deployment = try await site.deploy("a0", Site.small)
                for number in 1..<count {
                    try await site.daemon.copyForBenchmark(deployment.app, "a\(number)")
                }
            } then: { configuration in
                let before = memory()
                let begin = ContinuousClock.now
                try await Site.with(configuration) { site in
                    let start = (ContinuousClock.now - begin) / .milliseconds(1)
                    let after = memory()
                    var times: [Double] = []
                    for round in 0..<20 {
                        await site.daemon.fillPool()
                        let app = "a\((round * 7919) % count)"
                        let answer = await site.send(app)
                        guard answer.status == 200 else { print("failed: \(app) \(answer.status)"); continue }
                        times.append(answer.milliseconds)
                        try await site.sleep(app, .asleep)
                    }
                    print(
                        String(
                            format: "%6d apps: start-up %6.0f ms, daemon PSS %.1f MB (before %.1f)",
                            count,
                            start,
                            after,
                            before
                        )
                    )
                    print("             wake    \(Times(times).text)")
                }
            }
        }
    }

    /// New versions under load.
    ///
    /// The baseline is the same load without deployments.
    private static func deploys(count: Int) async throws {
        try await Site.with { site in
            try await site.deploy("site", "export default { fetch: () => new Response('v') };")
            let quiet = try await site.underLoad { try await Task.sleep(for: .seconds(5)) }
            print("requests without deployments   \(Times(quiet.times).text); failed: \(quiet.failures)")
            var times: [Double] = []
            let busy = try await site.underLoad {
                for number in 1...max(1, count) {
                    let begin = ContinuousClock.now
                    try await site.deploy(
                        "site",
                        "export default { fetch: () => new Response('v\(number)') };"
                    )
                    times.append((ContinuousClock.now - begin) / .milliseconds(1))
                    if number.isMultiple(of: 100) { print("deployed \(number) of \(count) versions") }
                }
            }
            print("deployments                    \(Times(times).text)")
            print("requests beside them           \(Times(busy.times).text); failed: \(busy.failures)")
        }
    }

    /// Proportional set size of this process in MB: `Pss` of /proc/self/smaps_rollup.
    private static func memory() -> Double {
        let text = (try? String(contentsOfFile: "/proc/self/smaps_rollup", encoding: .utf8)) ?? ""
        for line in text.split(separator: "\n") where line.hasPrefix("Pss:") {
            return (Double(line.split(separator: " ")[1]) ?? 0) / 1024
        }
        return .nan
    }
}

extension Site {
    /// Sends requests to the app "site" from four clients, each with a pause of 2 ms between two, until `body` has ended.
    ///
    /// - Returns: the answers' times in milliseconds, and how many were not 200, by status.
    fileprivate func underLoad(
        _ body: () async throws -> Void
    ) async throws -> (times: [Double], failures: [Int: Int]) {
        let clients = (0..<4).map { _ in
            Task {
                var (times, failures): ([Double], [Int: Int]) = ([], [:])
                while !Task.isCancelled {
                    let answer = await send("site")
                    if answer.status == 200 {
                        times.append(answer.milliseconds)
                    } else {
                        failures[answer.status, default: 0] += 1
                    }
                    try? await Task.sleep(for: .milliseconds(2))
                }
                return (times, failures)
            }
        }
        let result: Result<Void, any Error>
        do { result = .success(try await body()) } catch { result = .failure(error) }
        clients.forEach { $0.cancel() }
        var (times, failures): ([Double], [Int: Int]) = ([], [:])
        for client in clients {
            let (answered, failed) = await client.value
            times += answered
            failures.merge(failed, uniquingKeysWith: +)
        }
        try result.get()
        return (times, failures)
    }

    /// Prepares a folder with one host, and hands it to a second one.
    static func with(
        _ change: (inout HostConfiguration) -> Void,
        _ prepare: (Site) async throws -> Void,
        then body: (HostConfiguration) async throws -> Void
    ) async throws {
        let folder = URL(fileURLWithPath: "/tmp/martlet-bench-\(getpid())-\(UInt32.random(in: 0...9999))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        var configuration = try configuration(folder)
        change(&configuration)
        try await with(configuration, prepare)
        try await body(configuration)
    }
}
