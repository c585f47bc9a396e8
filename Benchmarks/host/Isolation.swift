import Control
import Daemon
import Foundation

/// What the isolation of a worker costs at a wake and at a request.
///
/// The same app, in a worker with all of the isolation and in one with none that was booted for it as well; each request of both goes
/// straight to the worker's socket. A second worker without isolation says how far two measurements of the same thing are apart.
enum IsolationCost {
    private static let requests = 200

    private struct Side {
        let name: String
        var wakes: [Double] = []
        var answers: [Double] = []
    }

    static func run(rounds: Int) async throws {
        try await Site.with { site in
            await site.daemon.waitForNetwork()
            await site.daemon.fillPool()
            let app = site.folder.appending(path: "isolation-app")
            try FileManager.default.createDirectory(at: app, withIntermediateDirectories: true)
            try Data(Site.small.utf8).write(to: app.appending(path: "main.ts"))
            let plain = try plainSite(site)
            var sides = ["isolated", "without isolation", "without, again"].map { Side(name: $0) }
            for round in -1..<rounds {
                // In turn, each as often first as last.
                for index in sides.indices.map({ ($0 + max(round, 0)) % sides.count }) {
                    let data = site.folder.appending(path: "isolation-data-\(round)-\(index)")
                    try FileManager.default.createDirectory(at: data, withIntermediateDirectories: true)
                    let folders = WorkerFolders(app: app.path, data: data.path)
                    let worker =
                        index == 0
                        ? try await site.daemon.bootForBenchmark()
                        : try await Worker.boot(
                            WorkerID(900_000 + (round + 1) * 10 + index),
                            folders: folders,
                            on: plain,
                            deadline: .seconds(60)
                        )
                    let (wake, answers) = try await measure(worker, folders)
                    await worker.destroy()
                    // The first round warms the caches of the machine.
                    guard round >= 0 else { continue }
                    sides[index].wakes.append(wake)
                    sides[index].answers += answers
                }
            }
            print("a worker that waits, given an app: to the first byte of its first answer")
            for side in sides { print(side.name.padded + Times(side.wakes).text) }
            print("then \(requests) requests in each worker, one after the other")
            for side in sides { print(side.name.padded + Times(side.answers).fine) }
            let (wakes, answers) = (
                sides.map { Times($0.wakes).quantile(0.5) }, sides.map { Times($0.answers).quantile(0.5) },
            )
            print(
                String(
                    format: "isolation adds %.2f ms to a wake (goal 3 ms; two without it differ by %.2f ms), "
                        + "%.0f us to a request (two without it differ by %.0f us)",
                    wakes[0] - wakes[1],
                    abs(wakes[2] - wakes[1]),
                    (answers[0] - answers[1]) * 1000,
                    abs(answers[2] - answers[1]) * 1000
                )
            )
        }
    }

    /// Workers without sandbox, limits and network of their own, under the runtime's permissions.
    private static func plainSite(_ site: Site) throws -> WorkerSite {
        let run = site.folder.appending(path: "plain").path
        try FileManager.default.createDirectory(atPath: run, withIntermediateDirectories: true)
        let runtime = Site.root.appending(path: "Runtime").path
        return WorkerSite(
            isolator: PlainIsolator(deno: Site.deno.path, runtime: runtime),
            groups: NoControlGroups(),
            runFolder: run,
            harness: try Harness(runtimeFolder: runtime),
            bootLimits: ControlGroupLimits(),
            standardMemoryBytes: site.daemon.workerSite.standardMemoryBytes
        )
    }

    private static func measure(_ worker: Worker, _ folders: WorkerFolders) async throws -> (Double, [Double])
    {
        let limits = ControlGroupLimits(memoryBytes: 256 << 20, cpu: 1, processes: 64)
        let order = StartOrder(
            app: "isolation",
            version: "1",
            main: "main.ts",
            environment: [:],
            folders: folders,
            limits: limits,
            fileBytes: 1 << 30,
            publicURL: nil,
            requestTimeout: .seconds(30),
            waitUntil: .seconds(30),
            deadline: .seconds(30)
        )
        let begin = ContinuousClock.now
        _ = try await worker.start(order) { _, _ in }
        guard Client.exchange(unix: worker.socketPath) != nil else { throw Failure.noAnswer }
        let wake = (ContinuousClock.now - begin) / .milliseconds(1)
        var answers: [Double] = []
        for _ in 0..<requests {
            guard let time = Client.exchange(unix: worker.socketPath) else { throw Failure.noAnswer }
            answers.append(time)
        }
        return (wake, answers)
    }

    private enum Failure: Error { case noAnswer }
}

extension String {
    fileprivate var padded: String { padding(toLength: 20, withPad: " ", startingAt: 0) }
}

extension Times {
    fileprivate var fine: String {
        String(
            format: "median %6.0f us   p90 %6.0f   p99 %6.0f   (n=%d)",
            quantile(0.5) * 1000,
            quantile(0.9) * 1000,
            quantile(0.99) * 1000,
            count
        )
    }
}
