import Dispatch
import Glibc
@testable import Daemon
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(2))) struct `Read sources` {
    /// Dispatch's own source hangs here at once: data and hang-up come in one event, and the reader takes part of it.
    @Test func `the end is reported after data that came with it, many times over`() async throws {
        for round in 0..<200 {
            let bytes = try await withThrowingTaskGroup(of: Int.self) { group in
                for index in 0..<8 { group.addTask { try await Self.bytesRead(writing: 5 + index, step: 3) } }
                return try await group.reduce(0, +)
            }
            #expect(bytes == (5..<13).reduce(0, +), "round \(round)")
        }
    }

    @Test func `a cancelled source calls its end once and is silent after it`() async throws {
        let ends = try pipeEnds()
        defer { close(ends.write) }
        let calls = Counter()
        await withCheckedContinuation { continuation in
            let source = ReadSource(ends.read, queue: DispatchQueue(label: "test")) { _ in
                calls.add(1)
            } onEnd: {
                close(ends.read)
                continuation.resume()
            }
            source.activate()
            source.cancel()
            source.cancel()
        }
        #expect(calls.total == 0)
    }

    private static func bytesRead(writing count: Int, step: Int) async throws -> Int {
        let ends = try pipeEnds()
        let calls = Counter()
        return await withCheckedContinuation { continuation in
            ReadSource(ends.read, queue: DispatchQueue(label: "test")) { source in
                var bytes = [UInt8](repeating: 0, count: step)
                let got = read(ends.read, &bytes, step)
                if got > 0 { calls.add(got) } else { source.cancel() }
            } onEnd: {
                close(ends.read)
                continuation.resume(returning: calls.total)
            }.activate()
            _ = write(ends.write, [UInt8](repeating: 1, count: count), count)
            close(ends.write)
        }
    }
}

private final class Counter: Sendable {
    private let value = Mutex(0)

    var total: Int { value.withLock { $0 } }

    func add(_ count: Int) { value.withLock { $0 += count } }
}

private func pipeEnds() throws -> (read: Int32, write: Int32) {
    var ends: [Int32] = [-1, -1]
    try #require(pipe(&ends) == 0)
    return (ends[0], ends[1])
}
