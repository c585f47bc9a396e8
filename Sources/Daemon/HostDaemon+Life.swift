import Control
import CSandbox
import Foundation
import Logging
import Proxy
import Synchronization

/// Does what the machine of each app decides.
extension HostDaemon {
    func handle(_ event: LifeMachine.Event, _ entry: Entry) {
        // Actions may bring further events; they are done one after the other, in order.
        if event == .requested { noteWanted(entry) }
        var events = [event]
        while !events.isEmpty {
            for action in entry.machine.handle(events.removeFirst(), now: uptime()) {
                if let next = perform(action, entry) { events.append(next) }
            }
        }
        let isQuiet = entry.awake == nil && entry.machine.state == .asleep
        if isQuiet || entry.machine.state == .closed {
            watched.remove(entry.record.id)
        } else {
            watched.insert(entry.record.id)
        }
    }

    private func perform(_ action: LifeMachine.Action, _ entry: Entry) -> LifeMachine.Event? {
        switch action {
        case .hold: return entry.cell.hold() ? .requested : nil
        case .forward(let id): forward(entry, to: id)
        case .refuse(let message, let pause): refuse(entry, message, pause)
        case .turnAway(let message, let pause):
            entry.cell.forgetWanted()
            proxy?.refuseHeld(
                entry.cell.waiting,
                with: Self.unavailable(entry, "app_not_started", message, pause)
            )
        case .retrySoon(let id):
            let app = entry.record.id
            spawn { [self] in
                try? await Task.sleep(for: .milliseconds(20))  // Cancelled only when the daemon stops.
                await later(.retry(id), app)
            }
        case .enqueue: return enqueue(entry)
        case .leaveQueue: leaveQueue(entry.record.id)
        case .start(let id):
            let app = entry.record.id
            awake(entry).starts.insert(id)
            spawn { [self] in await start(id, app) }
        case .confirmIdle(let id): confirmIdle(entry, id)
        case .freeze(let id): freeze(entry, id)
        case .thaw(let id): return thaw(entry, id)
        case .stop(let id): end(entry, id, .sleep)
        case .retire(let id): retire(entry, id)
        }
        return nil
    }

    /// An event from a task that ran beside the actor.
    func later(_ event: LifeMachine.Event, _ app: ApplicationID) {
        guard let entry = entries[app] else { return }
        handle(event, entry)
    }

    func awake(_ entry: Entry) -> Entry.Awake {
        if let awake = entry.awake { return awake }
        let awake = Entry.Awake()
        entry.awake = awake
        return awake
    }

    // MARK: - Routes

    private func forward(_ entry: Entry, to id: InstanceID) {
        guard let instance = entry.awake?.instances[id] else { return }
        let app = entry.record.id
        entry.cell.forward(to: instance.upstream) { Self.explanation(instance, app, $0) }
        entry.cell.lastActivity.store(csandbox_monotonic(), ordering: .relaxed)
        proxy?.retryHeld(entry.cell.waiting)
        noteServing(entry)
    }

    private func refuse(_ entry: Entry, _ message: String, _ pause: Duration) {
        entry.lastFailure = ApplicationStatus.Failure(message: message, at: Date())
        entry.wanted = nil
        let answer = Self.unavailable(entry, "app_failed", message, pause)
        entry.cell.respond(answer)
        proxy?.refuseHeld(entry.cell.waiting, with: answer)
    }

    private static func unavailable(
        _ entry: Entry,
        _ code: String,
        _ message: String,
        _ pause: Duration
    ) -> ReadyAnswer {
        let app = entry.record.id
        return .error(
            status: 503,
            code: code,
            message: "\(app) could not be started: \(message.prefix(2000)). `martlet logs \(app)` says more.",
            retryAfterSeconds: max(pause.milliseconds / 1000, 1)
        )
    }

    /// What a client reads whose request the worker has failed.
    private static func explanation(
        _ instance: Instance,
        _ app: ApplicationID,
        _ failure: UpstreamFailure
    ) -> ReadyAnswer? {
        let cause: EndCause
        switch failure {
        case .answerTimeout: cause = instance.killHanging()
        case .closedBeforeAnswer, .closedInAnswer: cause = instance.cause(nil)
        default: return nil
        }
        return .error(
            status: cause.status,
            code: cause.code,
            message:
                "\(app) did not finish this request: \(cause.summary). `martlet logs \(app)` says more; the next request "
                + "starts it again."
        )
    }

    // MARK: - The queue of starts

    private func enqueue(_ entry: Entry) -> LifeMachine.Event? {
        watched.insert(entry.record.id)
        switch queue.request(entry.record.id) {
        case .start: return .admitted(takeInstance())
        case .wait: return nil
        case .full: return .refused
        }
    }

    private func leaveQueue(_ app: ApplicationID) {
        for next in queue.finish(app) {
            spawn { [self] in await admitted(next) }
        }
    }

    private func admitted(_ app: ApplicationID) {
        guard let entry = entries[app] else { return leaveQueue(app) }
        handle(.admitted(takeInstance()), entry)
    }

    // MARK: - Starting

    private func start(_ id: InstanceID, _ app: ApplicationID) async {
        do {
            if stored[app] != nil { try await takeOver(app) }
            guard let version = entries[app]?.record.version,
                let stored = try await store.version(version, of: app)
            else {
                throw MartletError(.notFound, "\(app) has no version that could be started; deploy it again")
            }
            let development = developed.flatMap { $0.app == app ? $0.development : nil }
            let instance = try await makeInstance(id, stored, develops: development)
            guard !isStopping else {
                await discard(instance, app)
                throw CancellationError()
            }
            guard let entry = entries[app] else { return await discard(instance, app) }
            adopt(instance, entry)
            Self.noteStart("started")
            handle(.started(id), entry)
            // A host that took the app over while it slept does not know its routes yet.
            if entry.cron.isEmpty { try await takeCron(of: stored, routes: instance.report.cron ?? []) }
        } catch is CancellationError {
            await failed(id, app, "the host is stopping")
        } catch let error as MartletError where error.code == .ownedElsewhere {
            await failed(id, app, error.message)
            if let entry = entries[app] {
                lose(entry, to: (error.cause as? OrderRefusal)?.holder, because: error.message)
            }
        } catch {
            let message = (error as? MartletError)?.message ?? "\(error)"
            await failed(id, app, message)
        }
    }

    private func failed(_ id: InstanceID, _ app: ApplicationID, _ message: String) async {
        guard let entry = entries[app] else { return }
        entry.awake?.starts.remove(id)
        tidy(entry)
        Self.noteStart("failed")
        logs.log(of: app).note("start failed: \(message)", version: entry.record.version, level: .error)
        handle(.startFailed(id, message), entry)
    }

    /// From here on the instance is the app's: it is seen by the sweep, and its end is noticed.
    func adopt(_ instance: Instance, _ entry: Entry) {
        let awake = awake(entry)
        awake.starts.remove(instance.id)
        awake.instances[instance.id] = instance
        watched.insert(entry.record.id)
        let app = entry.record.id
        spawn { [self] in
            guard let end = await instance.worker.end.wait() else { return }
            await ended(instance, app, end)
        }
    }

    private func ended(_ instance: Instance, _ app: ApplicationID, _ end: ProcessEnd) async {
        let isWanted = instance.stopReason != nil
        let cause = instance.cause(end)
        // Held from now on; another one starts once everything of this one is gone, so that two never share the data.
        if let entry = entries[app], entry.machine.worker == instance.id { _ = entry.cell.hold() }
        await discard(instance, app)
        defer { instance.gone.set(()) }
        proxy?.forget(instance.counted)
        guard let entry = entries[app] else { return }
        entry.awake?.instances[instance.id] = nil
        if !isWanted || instance.yieldsCPU { entry.busyUntil = uptime() + Entry.memory }
        tidy(entry)
        if isWanted {
            handle(.stopped(instance.id), entry)
        } else {
            let message = cause.summary
            logs.log(of: app).note(message, version: instance.version, level: .error)
            Self.noteUnwantedEnd(cause.code)
            entry.lastFailure = ApplicationStatus.Failure(message: message, at: Date())
            handle(.exited(instance.id, message), entry)
        }
    }

    private func tidy(_ entry: Entry) {
        guard let awake = entry.awake, awake.instances.isEmpty, awake.starts.isEmpty else { return }
        entry.awake = nil
        logs.release(entry.record.id)
    }
}
