import Foundation
import Logging
import Replication
import Storage
import StorageTestSupport

/// Measures the library alone, without ingress and workers, on SeaweedFS.
///
/// `martlet-replication-benchmark gate|wake|epoch`, from the root of the source tree, after `scripts/fetch-tools run`;
/// `martlet-host-benchmark` measures whole hosts.
@main
enum Main {
    static func main() async throws {
        switch CommandLine.arguments.dropFirst().first {
        case "gate":
            try await ReplicationFixture.withS3 { try await GateBenchmark(fixture: $0, server: $1).run() }
        case "wake": try await ReplicationFixture.withS3 { fixture, _ in try await wake(fixture) }
        case "epoch": try await ReplicationFixture.withS3 { fixture, _ in try await epoch(fixture) }
        default:
            print("usage: martlet-replication-benchmark gate|wake|epoch")
            exit(2)
        }
    }

    /// What replication adds to the wake of an app with a local database of 100 MB.
    ///
    /// That is the watch, until all is known to be
    /// in the replica. The baseline opens the same database and reads a row.
    private static func wake(_ fixture: ReplicationFixture) async throws {
        let database = try fixture.database("main.db")
        try openDatabase(database.path).addRows(25_000, bytes: 3900)
        _ = try await fixture.replicator.watch(database)
        _ = try await fixture.replicator.release(database)
        var (watching, opening): ([Double], [Double]) = ([], [])
        for _ in 0..<30 {
            watching.append(try await milliseconds { _ = try await fixture.replicator.watch(database) })
            // Only now: closing the last connection while asleep would make Litestream send all of it again.
            opening.append(
                try await milliseconds {
                    _ = try openDatabase(database.path).column("SELECT max(id) FROM rows")
                }
            )
            try openDatabase(database.path).addRows(1)
            _ = try await fixture.replicator.release(database)
        }
        print("wake with a local database of 100 MB, 30 rounds")
        report("replication adds (register and sync)", watching)
        report("baseline: open it and read a row", opening)
    }

    /// Starting an epoch on 100 MB, beside sending the database again.
    private static func epoch(_ fixture: ReplicationFixture) async throws {
        let replicator = fixture.replicator
        var old = try fixture.database("main.db", host: "host0")
        try openDatabase(old.path).addRows(25_000, bytes: 3900)
        let sent = try await milliseconds { _ = try await replicator.watch(old) }
        var position = try await replicator.release(old)
        var (restoring, resuming): ([Double], [Double]) = ([], [])
        for epoch in 2...6 {
            let new = try fixture.database("main.db", epoch: epoch, host: "host\(epoch)")
            let (from, at) = (old.replica, position)
            restoring.append(
                try await milliseconds {
                    _ = try await replicator.restore(from, to: new.path, at: .newest) { _ in }
                }
            )
            resuming.append(
                try await milliseconds { _ = try await replicator.resume(new, from: from, at: at) }
            )
            position = try await replicator.release(new)
            old = new
        }
        print("next epoch of a database of 100 MB, 5 epochs")
        report("restore with a full integrity check", restoring)
        report("resume: copies in the store, first sync", resuming)
        print("  baseline: sending it again                   \(String(format: "%8.1f", sent)) ms")
    }
}

/// How long `body` takes.
func milliseconds(_ body: () async throws -> Void) async throws -> Double {
    let start = ContinuousClock.now
    try await body()
    return (ContinuousClock.now - start) / .milliseconds(1)
}

/// Prints the median and the 99th percentile.
func report(_ name: String, _ values: [Double]) {
    let sorted = values.sorted()
    guard let last = sorted.last else { return print("  \(name): nothing measured") }
    let p99 = sorted[min(sorted.count - 1, sorted.count * 99 / 100)]
    let padded = name.padding(toLength: 44, withPad: " ", startingAt: 0)
    print(
        "  \(padded) "
            + String(format: "%8.1f ms median, %8.1f p99, %8.1f longest", sorted[sorted.count / 2], p99, last)
    )
}
