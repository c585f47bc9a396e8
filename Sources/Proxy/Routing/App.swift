import Synchronization

/// What an app may use of the ingress, over all loops.
public struct AppLimits: Sendable {
    /// Requests that run at once, tunnels not counted; more are answered with 503 and Retry-After.
    public var runningRequests = 1024
    /// Tunnels (WebSockets) that are open at once.
    public var openTunnels = 4096
    /// Requests that are held at once.
    public var heldRequests = 1024
    /// How long a request is held before it is answered with 503.
    public var holdTime = Duration.seconds(30)

    public init() {}
}

/// The identity under which requests are counted and limited.
///
/// It outlives the upstreams that serve it: a worker that is started again is a new ``Upstream`` of the same
/// app.
public final class App: Sendable {
    public let name: String
    public let limits: AppLimits

    /// Small, and its own as long as the object lives: loops find their state of the app by it.
    let index: Int
    let running = Atomic<Int>(0)
    let tunnels = Atomic<Int>(0)
    let held = Atomic<Int>(0)
    let jsonName: [UInt8]
    let holdMilliseconds: UInt64

    public init(name: String, limits: AppLimits = AppLimits()) {
        self.name = name
        self.limits = limits
        index = IndexPool.apps.take()
        jsonName = jsonText(name)
        holdMilliseconds = limits.holdTime.wholeMilliseconds
    }

    deinit { IndexPool.apps.give(index) }

    /// What is going on now, exact at the moment of the call.
    ///
    /// A loop counts a request in the same step in which it asks the router, so after
    /// ``ProxyServer/publish(_:)-(any_Router)`` has returned, every request that the earlier router let through is
    /// counted here until it ends.
    public var activity: Activity {
        Activity(
            runningRequests: running.load(ordering: .acquiring),
            openTunnels: tunnels.load(ordering: .acquiring),
            heldRequests: held.load(ordering: .acquiring)
        )
    }

    public struct Activity: Sendable, Equatable {
        public var runningRequests: Int
        public var openTunnels: Int
        public var heldRequests: Int

        public init(runningRequests: Int, openTunnels: Int, heldRequests: Int) {
            self.runningRequests = runningRequests
            self.openTunnels = openTunnels
            self.heldRequests = heldRequests
        }

        /// Nothing runs, nothing is open and nothing waits.
        public var isIdle: Bool { runningRequests == 0 && openTunnels == 0 && heldRequests == 0 }
    }
}

/// Gives out the smallest free numbers.
final class IndexPool: Sendable {
    static let apps = IndexPool()
    static let upstreams = IndexPool()

    private let state = Mutex<(free: [Int], next: Int)>(([], 0))

    func take() -> Int {
        state.withLock { state in
            if let index = state.free.popLast() { return index }
            state.next += 1
            return state.next - 1
        }
    }

    func give(_ index: Int) { state.withLock { $0.free.append(index) } }
}

/// The text as the inside of a JSON string.
func jsonText(_ text: String) -> [UInt8] {
    let bytes = Array(text.utf8)
    return [UInt8](unsafeUninitializedCapacity: bytes.count * 6 + 1) { buffer, count in
        guard let start = buffer.baseAddress else { return }
        var writer = ByteWriter(start)
        bytes.withUnsafeBufferPointer { source in
            if let source = source.baseAddress { writer.put(json: source, bytes.count) }
        }
        count = writer.count
    }
}

extension Duration {
    /// Rounded up, so that a positive time does not become none.
    package var wholeMilliseconds: UInt64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        return UInt64(seconds) * 1000 + UInt64((attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
    }
}
