import CProxy
import Glibc

/// One thread of the proxy: it accepts, reads, decides and writes for its own connections, and shares nothing with the
/// other loops but atomic numbers.
///
/// Events are edge-triggered: what a connection may be able to do is noted in the connection, and done until the kernel
/// says "not now". Descriptors index the tables of connections; a generation in the event tells a connection from an
/// earlier one with the same descriptor.
final class Loop: @unchecked Sendable {
    // Sendable because all but `mailbox` and `shared`, which are Sendable themselves, is only touched before the
    // loop's thread begins and then by that thread.

    static let scratchBytes = 256 * 1024
    /// Wheel ticks are this many milliseconds.
    static let tickMilliseconds: UInt64 = 64

    let shared: ProxyShared
    let settings: LoopSettings
    let mailbox: Mailbox
    let epoll: Int32

    var routes: Routes
    let told: Told?
    var isDraining = false
    var isStopped = false
    /// Nanoseconds of the monotonic clock when the current events were taken, and the same in milliseconds.
    var now: UInt64
    var nowMilliseconds: UInt64
    var wallMilliseconds: Int64 = 0
    /// Bytes of the host name in `name`.
    var nameCount = 0

    @exclusivity(unchecked) var fronts: [Front?] = []
    @exclusivity(unchecked) var backs: [Back?] = []
    var frontCount = 0
    @exclusivity(unchecked) var pools: [UpstreamPool?] = []
    @exclusivity(unchecked) var cells: [AppCell?] = []
    /// Fronts that can go on without an event.
    @exclusivity(unchecked) var queue: [Front] = []
    /// Fronts whose upstream's backlog was full: tried again in a moment.
    @exclusivity(unchecked) var backlogged: [Front] = []
    var parked: [Int: [Front]] = [:]
    @exclusivity(unchecked) var freeExchanges: [Exchange] = []
    @exclusivity(unchecked) var wheel: TimerWheel
    @exclusivity(unchecked) var dueEntries: [Int32] = []
    @exclusivity(unchecked) var log: AccessLogBuffer?
    var logFlushAt: UInt64 = 0
    /// When connections are looked at for ends that acknowledge nothing, in milliseconds.
    var linksDue = UInt64.max
    var clientLinksDue: UInt64 = 0
    var listeners: [ListenerSocket] = []
    var onDrained: [@Sendable () -> Void] = []

    let input: MutableBytes
    let output: MutableBytes
    let name: MutableBytes
    let head: UnsafeMutablePointer<RequestHead>
    let requestTable: FieldTable
    let answerTable: FieldTable
    private let timer: Int32
    /// When `timer` is due, in milliseconds.
    private var timerAt = UInt64.max
    private let events: UnsafeMutablePointer<cproxy_event>
    private var nextGeneration: UInt32 = 1
    private var nextSerial: UInt64 = 1
    @exclusivity(unchecked) private var random: (UInt64, UInt64) = (0, 0)

    struct ListenerSocket {
        let descriptor: Int32
        let configuration: ProxyConfiguration.Listener
    }

    /// The router as two functions: to call one does not copy it, as a value of protocol type would be.
    final class Routes {
        let route: (borrowing RoutedRequest) -> RouteDecision
        let failed: (UpstreamFailure, Upstream, borrowing RoutedRequest) -> FailureDecision

        init(_ router: some Router) {
            route = { router.route($0) }
            failed = { router.failed($0, of: $1, request: $2) }
        }
    }

    /// The observer, likewise.
    final class Told {
        let started: (borrowing RoutedRequest, App) -> Void
        let ended: (RequestSummary) -> Void

        init(_ observer: some ProxyObserver) {
            started = { observer.requestStarted($0, app: $1) }
            ended = { observer.requestEnded($0) }
        }
    }

    enum Tag: UInt64 {
        case wakeup = 0
        case listener = 1
        case front = 2
        case back = 3
    }

    init(shared: ProxyShared, router: any Router) throws {
        self.shared = shared
        routes = Routes(router)
        told = shared.observer.map { Told($0) }
        settings = shared.settings
        epoll = cproxy_epoll_create()
        let wakeup = cproxy_eventfd()
        timer = cproxy_timer()
        guard epoll >= 0, wakeup >= 0, timer >= 0, cproxy_random(&random, 16) == 0 else {
            throw ProxyError(
                code: .system,
                message: "start a loop of the proxy: \(errorText(-min(epoll, wakeup, timer)))",
                errorNumber: -min(epoll, wakeup, timer)
            )
        }
        mailbox = Mailbox(descriptor: wakeup)
        now = cproxy_monotonic()
        nowMilliseconds = now / 1_000_000
        wallMilliseconds = cproxy_wall_milliseconds()
        wheel = TimerWheel(now: now / 1_000_000 / Self.tickMilliseconds)
        input = .allocate(capacity: Self.scratchBytes + 64)
        output = .allocate(capacity: Self.scratchBytes * 2)
        name = .allocate(capacity: 512)
        head = .allocate(capacity: 1)
        head.initialize(to: RequestHead())
        requestTable = FieldTable(capacity: settings.head.fieldCount)
        answerTable = FieldTable(capacity: 1000)
        events = .allocate(capacity: 256)
        if let writer = shared.log { log = AccessLogBuffer(writer: writer) }
        _ = cproxy_epoll_add_level(epoll, wakeup, UInt64(wakeup))
        _ = cproxy_epoll_add_level(epoll, timer, UInt64(timer))
    }

    deinit {
        cproxy_close(epoll)
        cproxy_close(timer)
        input.deallocate()
        output.deallocate()
        name.deallocate()
        head.deallocate()
        events.deallocate()
        log?.free()
    }

    /// The thread's work: until a `stop` message.
    func run() {
        while !isStopped {
            let count = cproxy_epoll_wait(epoll, events, 256, prepareToWait())
            now = cproxy_monotonic()
            nowMilliseconds = now / 1_000_000
            if log != nil { wallMilliseconds = cproxy_wall_milliseconds() }
            var index = 0
            while index < Int(count) {
                dispatch(events[index])
                index &+= 1
            }
            if !queue.isEmpty { runQueue() }
            if !backlogged.isEmpty { retryBacklogged() }
            let tick = nowMilliseconds / Self.tickMilliseconds
            wheel.advance(to: tick, into: &dueEntries)
            if !dueEntries.isEmpty { runTimers() }
            if log != nil && nowMilliseconds >= logFlushAt { flushLog() }
            if nowMilliseconds >= linksDue { lookAtLinks() }
            if isDraining { finishDraining() }
        }
        end()
    }

    /// How long to wait for events: for ever, unless something goes on without one.
    ///
    /// Time-outs are left to one timer of the kernel's that is set rarely: a time-out given to every wait would be
    /// programmed into the hardware for every request.
    private func prepareToWait() -> Int32 {
        if !queue.isEmpty { return 0 }
        if !backlogged.isEmpty { return 2 }
        var next = UInt64.max
        if let tick = wheel.nextTick { next = tick &* Self.tickMilliseconds }
        if log != nil && log?.count ?? 0 > 0 { next = min(next, logFlushAt) }
        next = min(next, linksDue)
        if next < timerAt {
            timerAt = next
            cproxy_timer_set(timer, next)
        }
        return -1
    }

    @inline(__always)
    private func dispatch(_ event: cproxy_event) {
        let descriptor = Int(truncatingIfNeeded: event.data & 0xFFFF_FFFF)
        let generation = UInt32(truncatingIfNeeded: (event.data >> 32) & 0x3FFF_FFFF)
        switch event.data >> 62 {
        case Tag.front.rawValue:
            guard descriptor < fronts.count, let front = fronts[descriptor], front.generation == generation
            else {
                return
            }
            frontEvent(front, event.events)
        case Tag.back.rawValue:
            guard descriptor < backs.count, let back = backs[descriptor], back.generation == generation else {
                return
            }
            backEvent(back, event.events)
        case Tag.listener.rawValue: acceptAll(listenerIndex: Int(generation))
        default:
            if descriptor == Int(timer) {
                cproxy_eventfd_drain(timer)
                timerAt = .max
            } else {
                mailbox.take().forEach(handle)
            }
        }
    }

    private func runQueue() {
        let ready = queue
        queue.removeAll(keepingCapacity: true)
        for front in ready {
            front.isQueued = false
            readFront(front)
        }
    }

    /// Goes on with a connection after the current events.
    @inline(__always)
    func enqueue(_ front: Front) {
        guard !front.isQueued, front.phase != .closed else { return }
        front.isQueued = true
        queue.append(front)
    }

    private func flushLog() {
        log?.flush()
        logFlushAt = nowMilliseconds + 1000
    }

    func makeGeneration() -> UInt32 {
        nextGeneration = (nextGeneration &+ 1) & 0x3FFF_FFFF
        return nextGeneration
    }

    func makeSerial() -> UInt64 {
        nextSerial &+= 1
        return nextSerial
    }

    /// 128 bits that are unique, from a seed of the kernel (xoroshiro128+; two outputs).
    func makeRequestID() -> (UInt64, UInt64) { (nextRandom(), nextRandom()) }

    private func nextRandom() -> UInt64 {
        let first = random.0
        var second = random.1
        let result = first &+ second
        second ^= first
        random.0 = (first << 24 | first >> 40) ^ second ^ (second << 16)
        random.1 = second << 37 | second >> 27
        return result
    }

    /// Sets when a connection is looked at next, if nothing moves the deadline.
    @inline(__always)
    func setDeadline(_ front: Front, after milliseconds: UInt64) {
        front.deadline = nowMilliseconds &+ milliseconds
        wheel.schedule(front.descriptor, at: front.deadline / Self.tickMilliseconds &+ 1)
    }

    @inline(__always)
    func setDeadline(_ back: Back, after milliseconds: UInt64) {
        back.deadline = nowMilliseconds &+ milliseconds
        wheel.schedule(back.descriptor, at: back.deadline / Self.tickMilliseconds &+ 1)
    }

    private func runTimers() {
        let entries = dueEntries
        dueEntries.removeAll(keepingCapacity: true)
        for entry in entries {
            let index = Int(entry)
            if index < fronts.count, let front = fronts[index] {
                if front.deadline <= nowMilliseconds {
                    frontTimedOut(front)
                } else {
                    wheel.schedule(entry, at: front.deadline / Self.tickMilliseconds + 1)
                }
            } else if index < backs.count, let back = backs[index] {
                if back.deadline <= nowMilliseconds {
                    if back.phase == .idle { closeBack(back) }
                } else {
                    wheel.schedule(entry, at: back.deadline / Self.tickMilliseconds + 1)
                }
            }
        }
    }

    private func end() {
        mailbox.close()
        for listener in listeners { cproxy_close(listener.descriptor) }
        listeners = []
        for front in fronts {
            guard let front else { continue }
            if let exchange = front.exchange { abandon(exchange, .stopped) }
            closeFront(front)
        }
        for back in backs {
            if let back { closeBack(back) }
        }
        log?.flush()
        onDrained.forEach { $0() }
        onDrained = []
    }
}
