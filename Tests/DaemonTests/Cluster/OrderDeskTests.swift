import Control
@testable import Daemon
import Synchronization
import Testing

/// What becomes of orders that come twice, late or at the same time.
struct OrderDeskTests {
    private let desk: OrderDesk
    private let app: ApplicationID

    init() throws {
        desk = OrderDesk(host: try HostID(validating: "a"))
        app = try ApplicationID(validating: "guestbook")
    }

    @Test func `an order that comes again gets the same report without being carried out again`() async throws
    {
        let runs = Mutex(0)
        for _ in 0..<3 {
            let report = try await desk.perform(RetireOrder(app: app, number: 4)) {
                runs.withLock { $0 += 1 }
                return "done"
            }
            #expect(report == "done")
        }
        #expect(runs.withLock { $0 } == 1)
    }

    @Test func `an order that failed is carried out when it comes again`() async throws {
        let runs = Mutex(0)
        await #expect(throws: MartletError.self) {
            try await desk.perform(RetireOrder(app: app, number: 4)) { () async throws -> String in
                runs.withLock { $0 += 1 }
                throw MartletError(.unavailable, "not now")
            }
        }
        let report = try await desk.perform(RetireOrder(app: app, number: 4)) {
            runs.withLock { $0 += 1 }
            return "done"
        }
        #expect(report == "done")
        #expect(runs.withLock { $0 } == 2)
    }

    @Test func `an older order is refused with what the host has seen`() async throws {
        _ = try await desk.perform(RetireOrder(app: app, number: 4)) { "done" }
        let error = await #expect(throws: MartletError.self) {
            try await desk.perform(RetireOrder(app: app, number: 3)) { "never" }
        }
        #expect(error?.code == .staleOrder)
        #expect((error?.cause as? OrderRefusal)?.number == 4)
        let other = try ApplicationID(validating: "other")
        #expect(try await desk.perform(RetireOrder(app: other, number: 1)) { "done" } == "done")
    }

    @Test func `a later order ends an earlier one that is under way`() async throws {
        let began = AsyncStream<Void>.makeStream()
        let first = Task { [desk, app] in
            try await desk.perform(RetireOrder(app: app, number: 4)) { () async throws -> String in
                began.continuation.yield()
                try await Task.sleep(for: .seconds(600))
                return "never"
            }
        }
        for await _ in began.stream { break }
        let second = try await desk.perform(RetireOrder(app: app, number: 5)) { "done" }
        #expect(second == "done")
        await #expect(throws: CancellationError.self) { try await first.value }
    }
}
