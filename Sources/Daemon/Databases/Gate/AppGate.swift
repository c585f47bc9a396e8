import Control
import Proxy
import Replication
import Synchronization

/// Holds an app's answers until every commit made before them is in the replica.
///
/// A look costs a few system calls and no lock that others hold for long: whether a database has appeared, and for each database
/// whether its log has changed since the last sync that succeeded. An answer with nothing new behind it passes at once.
final class AppGate: AnswerGate {
    private let app: ApplicationID
    private let commits: CommitGate
    /// Throws when this host may not act for the app now.
    private let fence: @Sendable () throws -> Void
    /// Scans the app's data folder and adds what it finds.
    private let scan: @Sendable () async throws -> Void
    private let state: Mutex<State>

    private struct State: Sendable {
        var queue: GateQueue<GateTicket>
        var databases: [String: Watched] = [:]
        /// Nil until the data folder is watched.
        var news: FolderNewsReader?
        var ledger = StatementLedger()
        /// Set for good once another host may have the app.
        var ended: ReplicationError?

        /// Whether anything may have been committed that the replica does not have for certain.
        func isBehind() -> Bool {
            guard let news, !news.needsScan() else { return true }
            for watched in databases.values {
                guard let replicated = watched.replicated, watched.index.mark() == replicated else {
                    return true
                }
            }
            return false
        }

        /// Whether it is certain that nothing was committed for an answer, though others have committed.
        mutating func isRead(_ report: StatementLedger.Report, isAlone: Bool) -> Bool {
            if isAlone { ledger.balance(report, databases.compactMapValues { $0.index.mark() }) }
            return ledger.isTrusted && !report.hasWritten
        }
    }

    /// Unchecked: it is inside of the mutex.
    private struct Watched: @unchecked Sendable {
        let database: ReplicatedDatabase
        let index: LogIndex
        /// The state that the replica surely has.
        var replicated: CommitMark?
        /// Why it can't be replicated.
        var problem: ReplicationError?
    }

    private static let waitingLimit = 10_000

    init(
        app: ApplicationID,
        replicator: any Replicator,
        fence: @escaping @Sendable () throws -> Void,
        scan: @escaping @Sendable () async throws -> Void
    ) {
        self.app = app
        self.fence = fence
        self.scan = scan
        commits = CommitGate(replicator: replicator)
        state = Mutex(State(queue: GateQueue(limit: Self.waitingLimit)))
    }

    // MARK: - What there is

    func watch(_ news: FolderNewsReader) { state.withLock { $0.news = news } }

    func add(_ name: String, _ database: ReplicatedDatabase) {
        state.withLock {
            $0.databases[name] = Watched(database: database, index: LogIndex(database: database.path))
        }
    }

    func remove(_ name: String) { state.withLock { $0.databases[name] = nil } }

    func fail(_ name: String, _ problem: ReplicationError) {
        state.withLock { $0.databases[name]?.problem = problem }
    }

    /// Nothing of the app is confirmed from now on.
    func end(_ reason: String) {
        state.withLock { $0.ended = ReplicationError(.superseded, reason) }
    }

    /// Closes what is open: the app has no worker any more.
    func rest() {
        state.withLock {
            $0.databases = [:]
            $0.news = nil
        }
    }

    // MARK: - Answers

    func check(_ answer: borrowing GatedAnswer) -> GateDecision {
        let isEntitled = isEntitled
        let ticket = answer.ticket
        var report: StatementLedger.Report?
        var isAlone = false
        if case .head = answer.stage {
            report = answer.header(StatementLedger.header).flatMap(StatementLedger.Report.init)
            isAlone = answer.app.activity.runningRequests == 1
        }
        let joined = state.withLock { state -> GateQueue<GateTicket>.Joined? in
            if isEntitled, state.ended == nil {
                guard state.isBehind() else { return nil }
                if let report, state.isRead(report, isAlone: isAlone) { return nil }
            }
            return state.queue.join(ticket)
        }
        switch joined {
        case nil: return .pass
        case .begin:
            // The proxy's loop must not wait. It ends when nobody waits; each round has the sync's time-out.
            Task { await self.confirmRounds() }
        case .wait: break
        case .refused:
            ticket.release(.replace(Self.refusal(app, Self.tooMany)))
        }
        return .hold
    }

    private var isEntitled: Bool {
        do {
            try fence()
            return true
        } catch {
            return false
        }
    }

    private func confirmRounds() async {
        while let round = state.withLock({ $0.queue.nextRound() }) {
            let release: GateRelease
            do {
                try await confirm()
                release = .pass
            } catch {
                release = .replace(Self.refusal(app, error))
            }
            for ticket in round { ticket.release(release) }
        }
    }

    /// Returns when everything committed before the call is in the replica.
    private func confirm() async throws {
        if state.withLock({ $0.news?.needsScan() ?? true }) { try await scan() }
        // Read before the sync begins: what is committed after it is for the next round.
        let (behind, marks) = try state.withLock { state in
            var behind: [(String, ReplicatedDatabase)] = []
            var marks: [String: CommitMark] = [:]
            if let omission = state.news?.omission {
                throw ReplicationError(
                    .invalid,
                    "its data folder is beyond what can be replicated: \(omission)"
                )
            }
            for (name, watched) in state.databases {
                if let problem = watched.problem { throw problem }
                let mark = watched.index.mark()
                if let mark, mark == watched.replicated { continue }
                behind.append((name, watched.database))
                marks[name] = mark
            }
            return (behind, marks)
        }
        if let ended = state.withLock(\.ended) { throw ended }
        try await commits.confirm(behind.map(\.1), fence: fence)
        if let ended = state.withLock(\.ended) { throw ended }
        state.withLock { state in
            for (name, database) in behind where state.databases[name]?.database == database {
                state.databases[name]?.replicated = marks[name]
            }
        }
    }

    private static let tooMany = ReplicationError(
        .unavailable,
        "\(waitingLimit) answers wait for the replica already"
    )

    /// What a client gets whose change is not in the replica.
    private static func refusal(_ app: ApplicationID, _ error: any Error) -> ReadyAnswer {
        let code: String
        let reason: String
        switch (error as? ReplicationError)?.code {
        case .full:
            code = "disk_full"
            reason = "the host's disk is full"
        case .superseded:
            code = "not_owner"
            reason = "this host may not act for it now"
        case .invalid, .failed, .damaged, .noReplica:
            code = "not_replicated"
            reason = "one of its databases can't be replicated"
        case .unavailable, nil:
            code = "replica_unavailable"
            reason = "the object store can't be reached now"
        }
        let detail = (error as? ReplicationError)?.message ?? "\(error)"
        return .error(
            status: 503,
            code: code,
            message:
                "\(app) has handled this request, but what it changed is not in its replica: \(reason). It is kept on the "
                + "host and replicated as soon as that can be done; until then it may be lost with the host, so it is not "
                + "confirmed. (\(detail.prefix(500)))",
            retryAfterSeconds: CommitGate.retryAfterSeconds
        )
    }
}

/// Lets answers pass while the host may act at all, for apps whose answers do not wait for the replica.
struct EntitlementGate: AnswerGate {
    let app: ApplicationID
    let fence: @Sendable () throws -> Void

    func check(_ answer: borrowing GatedAnswer) -> GateDecision {
        do {
            try fence()
            return .pass
        } catch {
            let message = "This host may not act for \(app) now: its lease is over. (\(error))"
            answer.ticket.release(
                .replace(.error(status: 503, code: "not_owner", message: message, retryAfterSeconds: 2))
            )
            return .hold
        }
    }
}
