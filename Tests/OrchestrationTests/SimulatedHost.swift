import ClusterContract
import Control
import Foundation
import Logging
import Synchronization
import Temporal

@testable import Orchestration

/// A host that serves nothing and records what it is told, with the store's part played by ``SimulatedStore``.
final class SimulatedHost: HostOrders, Sendable {
    let id: HostID
    let registration: HostRegistration
    private let store: SimulatedStore
    /// Gets the whole table.
    private let fetch: @Sendable () async throws -> RouteTable
    private let state = Mutex(State())
    /// The hosts that it can reach, itself included.
    let peers = Mutex<[HostID: SimulatedHost]>([:])

    /// What goes wrong.
    enum Fault: Sendable, Equatable {
        /// The order is refused before it does anything.
        case refused(MartletError.Code)
        /// It is carried out, and then the answer is an error.
        case lostAnswer(MartletError.Code)
        /// It never ends.
        case hangs
    }

    struct State {
        var orders: [String] = []
        var faults: [String: [Fault]] = [:]
        var hooks: [String: @Sendable () async throws -> Void] = [:]
        var serving: [ApplicationID: Int] = [:]
        var closed: Set<ApplicationID> = []
        var highest: [ApplicationID: Int] = [:]
        var generation = 0
        /// Those that it was told, in order.
        var generations: [Int] = []
        var table: RouteTable?
        var environment: [ApplicationID: [SealedVariable]] = [:]
        var loads: [ApplicationID: Int] = [:]
        var isDead = false
    }

    init(
        _ name: String,
        store: SimulatedStore,
        lease: LeaseTerms = .standard,
        fetch: @escaping @Sendable () async throws -> RouteTable
    ) throws {
        self.fetch = fetch
        id = try HostID(validating: name)
        self.store = store
        registration = HostRegistration(
            host: id,
            incarnation: UUID().uuidString,
            peer: HostAddress(address: "127.0.0.1", port: 1),
            api: "http://127.0.0.1:1",
            ingress: HostAddress(address: "127.0.0.1", port: 2),
            capacity: 1_000_000,
            leaseTerm: 1,
            lease: lease,
            residents: []
        )
    }

    var orders: [String] { state.withLock { $0.orders } }
    func epoch(of app: ApplicationID) -> Int? { state.withLock { $0.serving[app] } }
    var generations: [Int] { state.withLock { $0.generations } }
    var table: RouteTable? { state.withLock { $0.table } }
    var serving: [ApplicationID: Int] { state.withLock { $0.serving } }
    func environment(of app: ApplicationID) -> [SealedVariable] {
        state.withLock { $0.environment[app] ?? [] }
    }

    /// The next call of an order (`adopt guestbook`) fails so.
    func fail(_ order: String, _ fault: Fault) {
        state.withLock { $0.faults[order, default: []].append(fault) }
    }

    /// Does something when an order (`adopt guestbook`) comes for the first time, before it is carried out.
    func before(_ order: String, _ hook: @escaping @Sendable () async throws -> Void) {
        state.withLock { $0.hooks[order] = hook }
    }

    func set(load: Int, of app: ApplicationID) { state.withLock { $0.loads[app] = load } }

    /// Ends it as a crash would: nothing is answered any more.
    func die() { state.withLock { $0.isDead = true } }

    // MARK: Orders

    private func carryOut<Report>(
        _ name: String,
        app: ApplicationID?,
        number: Int = 0,
        _ body: (inout State) throws -> Report
    ) async throws -> Report {
        let key = app.map { "\(name) \($0)" } ?? name
        if let hook = state.withLock({ $0.hooks.removeValue(forKey: key) }) { try await hook() }
        let fault = try state.withLock { state -> Fault? in
            state.orders.append(app.map { "\(name) \($0)" } ?? name)
            if let app {
                guard number >= state.highest[app] ?? 0 else {
                    throw MartletError(
                        .staleOrder,
                        "\(name) \(app): order \(number) is older than \(state.highest[app] ?? 0)"
                    )
                }
                state.highest[app] = number
            }
            guard state.faults[key]?.isEmpty == false else { return nil }
            return state.faults[key]?.removeFirst()
        }
        switch fault {
        case .hangs:
            while true { try await Task.sleep(for: .seconds(3600)) }
        case .refused(let code): throw MartletError(code, "\(name) is made to fail")
        case .lostAnswer(let code):
            _ = try state.withLock { try body(&$0) }
            throw MartletError(code, "the answer of \(name) is made to be lost")
        case nil: return try state.withLock { try body(&$0) }
        }
    }

    func prepare(_ order: PrepareOrder) async throws -> PrepareReport {
        try await carryOut("prepare", app: order.app, number: order.number) { _ in
            PrepareReport(bytes: order.specification.artifactBytes, milliseconds: 1)
        }
    }

    func check(_ order: CheckOrder) async throws -> CheckReport {
        try await carryOut("check", app: order.app, number: order.number) { _ in CheckReport(milliseconds: 1)
        }
    }

    func follow(_ order: FollowOrder) async throws -> FollowReport {
        try await carryOut("follow", app: order.app, number: order.number) { _ in
            FollowReport(databases: 1, bytes: 1000, milliseconds: 1)
        }
    }

    func quiesce(_ order: QuiesceOrder) async throws -> QuiesceReport {
        try await carryOut("quiesce", app: order.app, number: order.number) { state in
            if state.serving.removeValue(forKey: order.app) != nil {
                store.release(order.app, by: id)
                state.closed.insert(order.app)
            }
            return QuiesceReport(
                positions: [],
                held: 0,
                closedSockets: 0,
                drainMilliseconds: 0,
                closeMilliseconds: 0,
                syncMilliseconds: 0,
                wasAwake: true
            )
        }
    }

    func adopt(_ order: AdoptOrder) async throws -> AdoptReport {
        try await carryOut("adopt", app: order.app, number: order.number) { state in
            try self.claim(order.app, epoch: order.epoch, ended: order.endedTerms, &state)
        }
    }

    func resume(_ order: ResumeOrder) async throws -> AdoptReport {
        try await carryOut("resume", app: order.app, number: order.number) { state in
            try self.claim(order.app, epoch: order.epoch, ended: order.endedTerms, &state)
        }
    }

    private func claim(
        _ app: ApplicationID,
        epoch: Int,
        ended: [String: Int],
        _ state: inout State
    ) throws -> AdoptReport {
        let claimed: Int
        if let own = state.serving[app] {
            claimed = own
        } else {
            claimed = try store.claim(app, by: id, epoch: epoch, ended: ended)
            state.serving[app] = claimed
            state.closed.remove(app)
        }
        return AdoptReport(
            epoch: claimed,
            databases: 1,
            bytes: 1000,
            claimMilliseconds: 1,
            restoreMilliseconds: 1,
            startMilliseconds: 1
        )
    }

    func handOver(_ order: HandOverOrder) async throws -> HandOverReport {
        try await carryOut("handOver", app: order.app, number: order.number) { _ in
            HandOverReport(released: 0, longestHoldMilliseconds: 0)
        }
    }

    func cutOver(_ order: CutOverOrder) async throws -> CutOverReport {
        var lost: (any Error)?
        do {
            try await carryOut("cutOver", app: order.app, number: order.number) { _ in }
        } catch let error as MartletError where error.message.hasPrefix("the answer") {
            lost = error
        }
        let closed = try await quiesce(order.quiesce)
        do {
            guard let peer = peers.withLock({ $0[order.host.id] }) else {
                throw MartletError(.unavailable, "there is no host \(order.host.id)")
            }
            let adopted = try await peer.adopt(order.adopt)
            let handedOver = try await handOver(
                HandOverOrder(app: order.app, number: order.number, host: order.host, epoch: adopted.epoch)
            )
            if let lost { throw lost }
            return CutOverReport(quiesce: closed, adopt: adopted, handOver: handedOver, milliseconds: 1)
        } catch {
            // As the real one: it goes on where the store lets it, and says why the move failed.
            _ = try? state.withLock { try claim(order.app, epoch: order.adopt.epoch, ended: [:], &$0) }
            throw error
        }
    }

    func abandon(_ order: AbandonOrder) async throws {
        try await carryOut("abandon", app: order.app, number: order.number) { state in
            if state.serving.removeValue(forKey: order.app) != nil {
                self.store.release(order.app, by: self.id)
            }
        }
    }

    func remove(_ order: RemoveOrder) async throws -> RemoveReport {
        try await carryOut("remove", app: order.app, number: order.number) { state in
            state.serving[order.app] = nil
            if !order.keepsReplica { self.store.forget(order.app) }
            return RemoveReport(bytes: 10)
        }
    }

    func start(_ order: StartOrder) async throws -> StartReport {
        try await carryOut("start", app: order.app, number: order.number) { _ in
            StartReport(milliseconds: 1, hasOld: true)
        }
    }

    func retire(_ order: RetireOrder) async throws {
        try await carryOut("retire", app: order.app, number: order.number) { _ in }
    }

    func configure(_ order: ConfigureOrder) async throws {
        try await carryOut("configure", app: order.app, number: order.number) {
            $0.environment[order.app] = order.environment
        }
    }

    func publish(_ order: PublishOrder) async throws -> PublishReport {
        let hook = state.withLock { state in
            state.generations.append(order.change.generation)
            return state.hooks["publish"]
        }
        try await hook?()
        let applied = try state.withLock { try $0.table?.applying(order.change) }
        let table = if let applied { applied } else { try await fetch() }
        return state.withLock { state in
            if table.generation > state.generation {
                state.table = table
                state.generation = table.generation
            }
            return PublishReport(generation: state.generation)
        }
    }

    func status(_ order: StatusOrder) async throws -> HostReport {
        state.withLock { state in
            HostReport(
                host: id,
                incarnation: registration.incarnation,
                generation: state.generation,
                intervalMilliseconds: 1000,
                apps: state.serving.sorted { $0.key < $1.key }.map {
                    ApplicationLoad(
                        app: $0.key,
                        epoch: $0.value,
                        isAwake: true,
                        cpuMicroseconds: state.loads[$0.key] ?? 1000,
                        databaseBytes: 1000
                    )
                }
            )
        }
    }

    func session(_ order: SessionOrder, beat: @escaping @Sendable (SessionBeat) -> Void) async throws {
        while !Task.isCancelled {
            if !state.withLock({ $0.isDead }) { beat(SessionBeat(generation: 0, renewsLease: true)) }
            try await Task.sleep(for: .milliseconds(200))
        }
    }
}

/// Who owns what, as the conditional writes of the object store decide it.
final class SimulatedStore: Sendable {
    private struct Owner {
        var host: HostID
        var epoch: Int
        var isReleased: Bool
    }

    private let owners = Mutex<[ApplicationID: Owner]>([:])

    /// - Throws: `owned_elsewhere` when a living host has the app.
    func claim(_ app: ApplicationID, by host: HostID, epoch: Int, ended: [String: Int]) throws -> Int {
        try owners.withLock { owners in
            if let owner = owners[app], owner.host != host, !owner.isReleased,
                ended[owner.host.rawValue] == nil
            {
                throw MartletError(
                    .ownedElsewhere,
                    "\(owner.host) owns \(app) at epoch \(owner.epoch)",
                    cause: OrderRefusal(epoch: owner.epoch, holder: owner.host)
                )
            }
            let next = max(epoch, (owners[app]?.epoch ?? 0) + 1)
            owners[app] = Owner(host: host, epoch: next, isReleased: false)
            return next
        }
    }

    func release(_ app: ApplicationID, by host: HostID) {
        owners.withLock { owners in
            if owners[app]?.host == host { owners[app]?.isReleased = true }
        }
    }

    func forget(_ app: ApplicationID) { owners.withLock { $0[app] = nil } }
}
