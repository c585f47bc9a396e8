//                 request                 slot              started
//      ┌─► asleep ─────────► queued ─────────────► starting ──────────► serving ◄──────────────┐
//      │     ▲                  │ full                │ failed             │ idle             │ not idle after all
//      │     │ the time is up   ▼                     ▼                    ▼                  │
//      │     └─────────────── backingOff ◄────────────┴──── exited ── quieting(freeze | stop)─┘
//      │                                                                   │ idle indeed
//      │   stopped                                                         ▼
//      └──────────────── stopping ◄──────────────────────── frozen ◄── freeze
//                                                             │ request
//                                                             └──► thawing ──► serving
//
// A deployment hands over a worker of the new version at any time (`adopt`): it serves from then on, and whatever was
// there before is retired. `close` ends every state. `suspend` takes the app out of service from every state: requests
// are held, whatever runs is retired and nothing starts, until `resume` makes it asleep or `adopt` brings a worker.

/// Decides what happens to one app on this host.
///
/// It knows no processes and no clock.
package struct LifeMachine: Sendable {
    package enum State: Sendable, Equatable {
        case asleep
        /// Waits for its turn to start.
        case queued
        case starting(InstanceID)
        case serving(InstanceID, since: Uptime)
        /// Requests are held until it is certain that none runs.
        case quieting(InstanceID, since: Uptime, SleepTarget)
        case frozen(InstanceID)
        case thawing(InstanceID)
        /// Its worker ends; a request that comes meanwhile is held, and starts another one afterwards.
        case stopping(InstanceID, isWanted: Bool)
        case backingOff(until: Uptime)
        /// Requests are held and nothing starts: the app moves to another host, or this one may not act.
        case suspended
        case closed
    }

    package enum SleepTarget: Sendable, Equatable {
        case frozen
        case stopped
    }

    package enum Event: Sendable, Equatable {
        /// A request found the app not serving.
        case requested
        /// The app may start, as this worker.
        case admitted(InstanceID)
        /// Too many wait to start.
        case refused
        case started(InstanceID)
        case startFailed(InstanceID, String)
        /// A worker ended by itself or was killed.
        case exited(InstanceID, String)
        /// The pause of `retrySoon` is over.
        case retry(InstanceID)
        case sleep(SleepTarget)
        /// The answer to `confirmIdle`.
        case confirmed(InstanceID, isIdle: Bool)
        case freezeFailed(InstanceID)
        case thawed(InstanceID)
        case stopped(InstanceID)
        /// The pause after failures may be over.
        case timePassed
        /// A worker of another version, or with another environment, is ready.
        case adopt(InstanceID)
        /// The cause of failures may be gone.
        case forgive
        case suspend
        case resume
        case close
    }

    package enum Action: Sendable, Equatable {
        /// Requests wait and wake the app.
        case hold
        case forward(InstanceID)
        /// Requests are answered with 503 and this message until `forward` or `hold`.
        case refuse(String, retryAfter: Duration)
        /// Requests that are held now are answered with 503; the next one tries again.
        case turnAway(String, retryAfter: Duration)
        /// Requests that are held are sent after a moment: either the worker takes them, or its end has been noticed.
        case retrySoon(InstanceID)
        case enqueue
        /// The place in the queue of starts is free.
        case leaveQueue
        case start(InstanceID)
        case confirmIdle(InstanceID)
        case freeze(InstanceID)
        case thaw(InstanceID)
        /// Ends a worker that handles nothing.
        case stop(InstanceID)
        /// Lets a worker finish what it handles, then ends it.
        case retire(InstanceID)
    }

    package private(set) var state = State.asleep
    package private(set) var backoff: CrashBackoff
    /// The last failure, until a worker has started.
    package private(set) var lastFailure: String?

    package init(backoff: CrashBackoff = CrashBackoff()) { self.backoff = backoff }

    /// The worker that counts as the app's own now.
    package var worker: InstanceID? {
        switch state {
        case .starting(let worker), .serving(let worker, _), .quieting(let worker, _, _), .frozen(let worker),
            .thawing(let worker), .stopping(let worker, _):
            worker
        case .asleep, .queued, .backingOff, .suspended, .closed: nil
        }
    }

    package mutating func handle(_ event: Event, now: Uptime) -> [Action] {
        switch event {
        case .requested: requested(now)
        case .admitted(let worker): admitted(worker)
        case .refused: refused()
        case .started(let worker): started(worker, now)
        case .startFailed(let worker, let message): startFailed(worker, message, now)
        case .retry(let worker): retry(worker)
        case .exited(let worker, let message): exited(worker, message, now)
        case .sleep(let target): sleep(target)
        case .confirmed(let worker, let isIdle): confirmed(worker, isIdle)
        case .freezeFailed(let worker): freezeFailed(worker)
        case .thawed(let worker): thawed(worker, now)
        case .stopped(let worker): stopped(worker)
        case .timePassed: timePassed(now)
        case .adopt(let worker): adopt(worker, now)
        case .forgive: forgive()
        case .suspend: suspend()
        case .resume: resume()
        case .close: close()
        }
    }

    private mutating func requested(_ now: Uptime) -> [Action] {
        switch state {
        case .asleep:
            state = .queued
            return [.enqueue]
        case .frozen(let worker):
            state = .thawing(worker)
            return [.thaw(worker)]
        case .stopping(let worker, _):
            state = .stopping(worker, isWanted: true)
            return []
        case .backingOff(let until) where now >= until:
            state = .queued
            return [.hold, .enqueue]
        case .quieting(let worker, let since, _):
            // It may have come after the check whose answer is on its way, so it decides by itself.
            state = .serving(worker, since: since)
            return [.forward(worker)]
        case .serving(let worker, _):
            // A request that an earlier worker refused as it ended.
            return [.retrySoon(worker)]
        case .queued, .starting, .thawing, .backingOff, .suspended, .closed:
            return []
        }
    }

    private func retry(_ worker: InstanceID) -> [Action] {
        guard case .serving(worker, _) = state else { return [] }
        return [.forward(worker)]
    }

    private mutating func admitted(_ worker: InstanceID) -> [Action] {
        guard case .queued = state else { return [.leaveQueue] }
        state = .starting(worker)
        return [.start(worker)]
    }

    private mutating func refused() -> [Action] {
        guard case .queued = state else { return [] }
        state = .asleep
        return [
            .turnAway("too many apps are waiting to be started on this host", retryAfter: .seconds(5)), .hold,
        ]
    }

    private mutating func started(_ worker: InstanceID, _ now: Uptime) -> [Action] {
        guard case .starting(worker) = state else { return [.retire(worker)] }
        state = .serving(worker, since: now)
        lastFailure = nil
        return [.leaveQueue, .forward(worker)]
    }

    private mutating func startFailed(_ worker: InstanceID, _ message: String, _ now: Uptime) -> [Action] {
        guard case .starting(worker) = state else { return [] }
        lastFailure = message
        let pause = backoff.startFailed()
        state = .backingOff(until: now + pause)
        return [.leaveQueue, .refuse(message, retryAfter: pause)]
    }

    private mutating func exited(_ worker: InstanceID, _ message: String, _ now: Uptime) -> [Action] {
        guard self.worker == worker else { return [] }
        var time = Duration.zero
        switch state {
        case .stopping: return stopped(worker)
        case .starting: return startFailed(worker, message, now)
        case .serving(_, let since), .quieting(_, let since, _): time = now - since
        case .frozen, .thawing: time = backoff.limits.healthyAfter
        case .asleep, .queued, .backingOff, .suspended, .closed: return []
        }
        lastFailure = message
        guard let pause = backoff.exited(afterRunning: time) else {
            state = .asleep
            return [.hold]
        }
        state = .backingOff(until: now + pause)
        return [.refuse(message, retryAfter: pause)]
    }

    private mutating func sleep(_ target: SleepTarget) -> [Action] {
        switch (state, target) {
        case (.serving(let worker, let since), _):
            state = .quieting(worker, since: since, target)
            return [.hold, .confirmIdle(worker)]
        case (.frozen(let worker), .stopped):
            state = .stopping(worker, isWanted: false)
            return [.stop(worker)]
        default:
            return []
        }
    }

    private mutating func confirmed(_ worker: InstanceID, _ isIdle: Bool) -> [Action] {
        guard case .quieting(worker, let since, let target) = state else { return [] }
        guard isIdle else {
            state = .serving(worker, since: since)
            return [.forward(worker)]
        }
        switch target {
        case .frozen:
            state = .frozen(worker)
            return [.freeze(worker)]
        case .stopped:
            state = .stopping(worker, isWanted: false)
            return [.stop(worker)]
        }
    }

    private mutating func freezeFailed(_ worker: InstanceID) -> [Action] {
        guard case .frozen(worker) = state else { return [] }
        state = .stopping(worker, isWanted: false)
        return [.stop(worker)]
    }

    private mutating func thawed(_ worker: InstanceID, _ now: Uptime) -> [Action] {
        guard case .thawing(worker) = state else { return [] }
        state = .serving(worker, since: now)
        return [.forward(worker)]
    }

    private mutating func stopped(_ worker: InstanceID) -> [Action] {
        guard case .stopping(worker, let isWanted) = state else { return [] }
        state = isWanted ? .queued : .asleep
        return isWanted ? [.enqueue] : []
    }

    private mutating func timePassed(_ now: Uptime) -> [Action] {
        guard case .backingOff(let until) = state, now >= until else { return [] }
        state = .asleep
        return [.hold]
    }

    private mutating func adopt(_ worker: InstanceID, _ now: Uptime) -> [Action] {
        if case .closed = state { return [.retire(worker)] }
        var actions: [Action] = [.forward(worker)]
        switch state {
        case .queued: actions.append(.leaveQueue)
        // The start that is under way reports to a machine that has moved on, and is retired then.
        case .starting: actions.append(.leaveQueue)
        case .serving(let old, _), .quieting(let old, _, _), .frozen(let old), .thawing(let old):
            actions.append(.retire(old))
        case .stopping, .asleep, .backingOff, .suspended, .closed: break
        }
        backoff.reset()
        lastFailure = nil
        state = .serving(worker, since: now)
        return actions
    }

    private mutating func forgive() -> [Action] {
        backoff.reset()
        guard case .backingOff = state else { return [] }
        state = .asleep
        return [.hold]
    }

    private mutating func suspend() -> [Action] {
        defer { if state != .closed { state = .suspended } }
        switch state {
        // The start that is under way reports to a machine that has moved on, and is retired then.
        case .queued, .starting: return [.hold, .leaveQueue]
        case .serving(let worker, _), .quieting(let worker, _, _), .frozen(let worker), .thawing(let worker):
            return [.hold, .retire(worker)]
        case .stopping, .asleep, .backingOff: return [.hold]
        case .suspended, .closed: return []
        }
    }

    private mutating func resume() -> [Action] {
        guard case .suspended = state else { return [] }
        state = .asleep
        backoff.reset()
        return [.hold]
    }

    private mutating func close() -> [Action] {
        defer { state = .closed }
        switch state {
        case .queued, .starting: return [.leaveQueue]
        case .serving(let worker, _), .quieting(let worker, _, _), .frozen(let worker), .thawing(let worker):
            return [.retire(worker)]
        case .stopping, .asleep, .backingOff, .suspended, .closed: return []
        }
    }
}
