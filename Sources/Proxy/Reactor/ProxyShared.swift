import Synchronization

/// What all loops of a proxy share.
///
/// Nothing in it changes but atomic numbers, and the register of counters.
final class ProxyShared: Sendable {
    let settings: LoopSettings
    let observer: (any ProxyObserver)?
    let log: AccessLogWriter?
    let openConnections = Atomic<Int>(0)
    let heldBytes = Atomic<Int>(0)
    let acceptedConnections = Atomic<UInt64>(0)
    let refusedConnections = Atomic<UInt64>(0)
    let refusedRequests = Atomic<UInt64>(0)
    let unknownNames = Atomic<UInt64>(0)
    private let cells = Mutex<[ObjectIdentifier: [AppCell]]>([:])

    init(settings: LoopSettings, observer: (any ProxyObserver)?, log: AccessLogWriter?) {
        self.settings = settings
        self.observer = observer
        self.log = log
    }

    /// Counters of an app for one loop.
    ///
    /// The register keeps the app alive, so that nothing is lost from the metrics.
    func makeCell(_ app: App) -> AppCell {
        let cell = AppCell(app: app)
        cells.withLock { $0[ObjectIdentifier(app), default: []].append(cell) }
        return cell
    }

    var allCells: [[AppCell]] { cells.withLock { Array($0.values) } }

    func forget(_ app: App) { cells.withLock { $0[ObjectIdentifier(app)] = nil } }
}

/// The configuration, as the loops use it: times in milliseconds.
struct LoopSettings: Sendable {
    let limits: ProxyConfiguration.Limits
    let head: HeadLimits
    let answerHeadBytes: Int
    let headTime: UInt64
    let idleTime: UInt64
    let bodyTime: UInt64
    let bodyBytesPerWindow: Int
    let connectTime: UInt64
    let upstreamSilence: UInt64
    let clientSilence: UInt64
    let answerTime: UInt64
    let answerIdleTime: UInt64
    let sendTime: UInt64
    let tunnelIdleTime: UInt64
    let upstreamIdleTime: UInt64
    let halfClosedTime: UInt64

    init(_ configuration: ProxyConfiguration) {
        limits = configuration.limits
        head = HeadLimits(
            headBytes: min(max(limits.headBytes, 1024), 64 * 1024),
            targetBytes: min(limits.targetBytes, 64 * 1024),
            fieldCount: min(max(limits.fieldCount, 1), 1000)
        )
        answerHeadBytes = min(max(limits.answerHeadBytes, 1024), 128 * 1024)
        let times = configuration.timeouts
        headTime = times.head.wholeMilliseconds
        idleTime = times.idle.wholeMilliseconds
        bodyTime = times.body.wholeMilliseconds
        bodyBytesPerWindow = Int(times.body.wholeMilliseconds) * max(times.bodyBytesPerSecond, 0) / 1000
        connectTime = times.connect.wholeMilliseconds
        upstreamSilence = max(times.upstreamSilence.wholeMilliseconds, 1000)
        clientSilence = max(times.clientSilence.wholeMilliseconds, 1000)
        answerTime = times.answer.wholeMilliseconds
        answerIdleTime = times.answerIdle.wholeMilliseconds
        sendTime = times.send.wholeMilliseconds
        tunnelIdleTime = times.tunnelIdle.wholeMilliseconds
        upstreamIdleTime = times.upstreamIdle.wholeMilliseconds
        halfClosedTime = times.halfClosed.wholeMilliseconds
    }
}
