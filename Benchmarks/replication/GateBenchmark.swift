import Foundation
import NIOCore
import Replication
import Storage
import StorageTestSupport
import Synchronization

/// Gated answers of 50 clients on one database, in turns with a bare PUT of 1 KB each and with a sync for each client.
struct GateBenchmark {
    let fixture: ReplicationFixture
    let server: SeaweedFS
    private let clients = 50
    private let turn: Duration = .seconds(4)

    func run() async throws {
        let database = try fixture.database("main.db")
        try openDatabase(database.path).execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, content BLOB)")
        _ = try await fixture.replicator.watch(database)
        let writer = try Writer(database.path)
        let gate = CommitGate(replicator: fixture.replicator)
        let queue = OneAtATime()
        let store = fixture.store
        let body = ByteBuffer(repeating: 7, count: 1024)
        var (gated, alone, put, single, singlePut) = (Run(), Run(), Run(), Run(), Run())
        for _ in 0..<3 {
            gated.add(
                try await measure(clients) { _ in
                    try await writer.insert()
                    try await gate.confirm([database]) {}
                }
            )
            put.add(
                try await measure(clients) { client in
                    try await store.put(try ObjectKey("bench/\(client)"), .bytes(body))
                }
            )
            alone.add(
                try await measure(clients) { _ in
                    try await writer.insert()
                    try await queue.run { try await gate.confirm([database]) {} }
                }
            )
            single.add(
                try await measure(1) { _ in
                    try await writer.insert()
                    try await gate.confirm([database]) {}
                }
            )
            singlePut.add(
                try await measure(1) { _ in try await store.put(try ObjectKey("bench/1"), .bytes(body)) }
            )
        }
        print("gated answers on one database, SeaweedFS, 3 turns of 4 s each")
        print("  50 clients, syncs shared: \(gated.rate) answers/s")
        report("    latency", gated.latencies)
        print("  baseline: 50 clients, each a sync of its own: \(alone.rate) answers/s")
        report("    latency", alone.latencies)
        print("  baseline: 50 clients, a bare PUT of 1 KB: \(put.rate) PUT/s")
        report("    latency", put.latencies)
        print("  1 client: \(single.rate) answers/s")
        report("    latency", single.latencies)
        print("  baseline: 1 client, a bare PUT of 1 KB: \(singlePut.rate) PUT/s")
        report("    latency", singlePut.latencies)
    }

    private func measure(
        _ clients: Int,
        _ request: @escaping @Sendable (Int) async throws -> Void
    ) async throws -> (latencies: [Double], seconds: Double) {
        let start = ContinuousClock.now
        let latencies = try await withThrowingTaskGroup(of: [Double].self) { group in
            for client in 0..<clients {
                group.addTask {
                    var latencies: [Double] = []
                    while ContinuousClock.now - start < turn {
                        latencies.append(try await milliseconds { try await request(client) })
                    }
                    return latencies
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        return (latencies, (ContinuousClock.now - start) / .seconds(1))
    }
}

/// What several turns of one kind gave.
private struct Run {
    var latencies: [Double] = []
    private var seconds = 0.0

    var rate: String { String(format: "%.0f", Double(latencies.count) / seconds) }

    mutating func add(_ turn: (latencies: [Double], seconds: Double)) {
        latencies += turn.latencies
        seconds += turn.seconds
    }
}

/// The app: one connection, as one worker has.
private actor Writer {
    private let connection: SQLiteConnection

    init(_ path: String) throws { connection = try openDatabase(path) }

    func insert() throws { try connection.execute("INSERT INTO rows (content) VALUES (randomblob(100))") }
}

/// Lets one in after the other, so that none shares another's sync.
private actor OneAtATime {
    private var isBusy = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    func run(_ body: @Sendable () async throws -> Void) async throws {
        if isBusy { await withCheckedContinuation { waiting.append($0) } }
        isBusy = true
        defer { if waiting.isEmpty { isBusy = false } else { waiting.removeFirst().resume() } }
        try await body()
    }
}
