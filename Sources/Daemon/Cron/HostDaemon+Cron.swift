package import Control
import CSandbox
import Foundation
import Logging
import Synchronization

/// Runs what apps want run at set times.
///
/// One clock on each host decides for the apps that it has, once a minute; ``runCron(_:_:slot:)`` is what a firing does.
/// With a store, a slot is given by a conditional write there (``CronRecord``): once, whichever hosts believe that the app is
/// theirs, and whether or not the control plane is there.
extension HostDaemon {
    func cronLoop() async {
        while !Task.isCancelled, !isStopping {
            await fireCron(at: CronSlot(Date()))
            let now = Date().timeIntervalSince1970
            // The clock may be set while this sleeps; then the next round sees it.
            let pause = 60 - now.truncatingRemainder(dividingBy: 60) + 0.01
            if await stopping.wait(atMost: .seconds(pause)) != nil { return }
        }
    }

    /// Starts everything that is due in a minute; returns the runs that were started.
    @discardableResult
    package func fireCron(at now: CronSlot) async -> [CronPlan.Firing] {
        var started: [CronPlan.Firing] = []
        // Those of an app that has just come are decided with what its last host knew; the store's own limits bound this.
        for task in learningJobs.values { await task.value }
        for (app, entry) in entries where !entry.cron.isEmpty && isPlacedHere(entry) {
            var plan = CronPlan(
                entries: entry.cron.map { CronPlan.Entry(job: $0.job, lastSlot: $0.lastSlot) }
            )
            for firing in plan.due(at: now) {
                guard !isStopping else { return started }
                if firing.runs {
                    started.append(firing)
                    spawn { [self] in _ = await runCron(app, firing.job, slot: firing.slot) }
                } else {
                    await note(firing, app)
                }
            }
        }
        return started
    }

    /// Runs a job for a slot: wakes the app, and waits for the handler's end.
    ///
    /// It may be called any number of times, before and after a crash: the slot is recorded on the disk first, and only
    /// the call that has recorded it runs the job. What fails is not tried again.
    ///
    /// - Returns: the run, or nil when the slot had been given before or the app has no such job.
    package func runCron(_ app: ApplicationID, _ job: CronJob, slot: CronSlot) async -> StateStore.CronRun? {
        guard let index = entries[app]?.cron.firstIndex(where: { $0.job == job }) else { return nil }
        if let last = entries[app]?.cron[index].lastSlot, last >= slot { return nil }
        let startedAt = Date()
        do {
            let isFree = try await databases?.claim(slot, of: job, app) ?? true
            // It is noted here all the same: there is nothing to do about it.
            guard try await store.claim(slot, of: job, app, startedAt: isFree ? startedAt : nil), isFree
            else {
                remember(app, job) { $0.lastSlot = max($0.lastSlot, slot) }
                return nil
            }
        } catch {
            logger.error(
                "a slot could not be recorded; its job does not run",
                metadata: ["app": "\(app)", "job": "\(job)", "error": "\(error)"]
            )
            return nil
        }
        let isOverlapping = !cronRunning.insert(CronKey(app: app, job: job)).inserted
        var run = StateStore.CronRun(slot: slot, startedAt: startedAt)
        remember(app, job) {
            $0.lastSlot = max($0.lastSlot, slot)
            $0.lastRun = run
        }
        let begin = uptime()
        if isOverlapping {
            run.error = "skipped: the run before was not over"
        } else {
            run.error = await attempt(app, job, slot)
            cronRunning.remove(CronKey(app: app, job: job))
        }
        run.milliseconds = (uptime() - begin).milliseconds
        remember(app, job) { $0.lastRun = run }
        if let error = run.error, entries[app] != nil {
            logs.log(of: app).note(
                "\(job) for \(slot) failed: \(error)",
                version: entries[app]?.record.version,
                level: .error
            )
            tidyLog(app)
        }
        do {
            try await store.finish(run, of: job, app)
        } catch {
            logger.error(
                "the end of a job could not be recorded",
                metadata: ["app": "\(app)", "error": "\(error)"]
            )
        }
        return run
    }

    /// The jobs of a version that now serves: those of its settings and those of its routes.
    ///
    /// `routes`: what a worker reported; nil where none has been started yet, and what is known of the routes stays.
    func takeCron(of version: StateStore.Version, routes: [String]?) async throws {
        var jobs = version.settings.cron.map {
            CronJob(schedule: $0.schedule, path: $0.path, catchUp: $0.catchUp)
        }
        guard let entry = entries[version.app] else { return }
        if let routes {
            for route in routes { jobs.append(try CronJob(route: route)) }
        } else {
            jobs += entry.cron.map(\.job).filter { $0.path == nil }
        }
        let before = entry.cron
        let plan = CronPlan(entries: before.map { CronPlan.Entry(job: $0.job, lastSlot: $0.lastSlot) })
            .replaced(by: jobs, at: CronSlot(Date()))
        guard !before.isEmpty || !plan.entries.isEmpty else { return }
        try await store.setCron(plan.entries, of: version.app)
        entry.cron = plan.entries.map { planned in
            let known = before.first { $0.job.description == planned.job.description }
            return StateStore.Cron(job: planned.job, lastSlot: planned.lastSlot, lastRun: known?.lastRun)
        }
        await shareCron(of: version.app)
    }

    /// Writes the jobs of an app down for other hosts.
    ///
    /// What fails here is made up for when a slot is given.
    private func shareCron(of app: ApplicationID) async {
        guard let databases, let entry = entries[app] else { return }
        do {
            try await databases.keepCron(
                entry.cron.map { CronPlan.Entry(job: $0.job, lastSlot: $0.lastSlot) },
                of: app
            )
        } catch {
            logger.error(
                "the jobs of an app are not written down for other hosts",
                metadata: ["app": "\(app)", "error": "\(error)"]
            )
        }
    }

    /// Learns the jobs of an app, and which slots were given, from the host that had it before.
    func learnCron(of app: ApplicationID) async throws {
        guard let databases, let entry = entries[app] else { return }
        guard let record = try await databases.cronRecord(of: app) else { return }
        entry.cron = record.entries.map { known in
            let own = entry.cron.first { $0.job.description == known.job.description }
            return StateStore.Cron(
                job: known.job,
                lastSlot: max(known.lastSlot, own?.lastSlot ?? known.lastSlot),
                lastRun: own?.lastRun
            )
        }
    }

    func cronStatus(_ entry: Entry) -> [CronStatus] {
        let now = CronSlot(Date())
        return entry.cron.map { cron in
            // It was checked when the app was deployed.
            let schedule = try? CronSchedule(parsing: cron.job.schedule)
            return CronStatus(
                job: cron.job,
                nextAt: schedule?.next(after: max(now, cron.lastSlot))?.date,
                lastSlotAt: cron.lastRun?.slot.date,
                lastStartedAt: cron.lastRun?.startedAt,
                lastMilliseconds: cron.lastRun?.milliseconds,
                lastError: cron.lastRun?.error,
                isRunning: cronRunning.contains(CronKey(app: entry.record.id, job: cron.job))
            )
        }
    }

    // MARK: - Parts

    /// Whether this host is the one that runs the app: on a cluster another may have it, or have just taken it over.
    private func isPlacedHere(_ entry: Entry) -> Bool {
        entry.departure == nil && table[entry.record.id.rawValue] != nil && membership?.view.refusal == nil
    }

    private func note(_ firing: CronPlan.Firing, _ app: ApplicationID) async {
        do {
            _ = try await databases?.claim(firing.slot, of: firing.job, app)
            _ = try await store.claim(firing.slot, of: firing.job, app, startedAt: nil)
            remember(app, firing.job) { $0.lastSlot = max($0.lastSlot, firing.slot) }
            logger.info(
                "a missed slot is skipped",
                metadata: ["app": "\(app)", "job": "\(firing.job)", "slot": "\(firing.slot)"]
            )
        } catch {
            // It is decided again at the next round.
            logger.error("a slot could not be recorded", metadata: ["app": "\(app)", "error": "\(error)"])
        }
    }

    private func remember(_ app: ApplicationID, _ job: CronJob, _ change: (inout StateStore.Cron) -> Void) {
        guard let entry = entries[app], let index = entry.cron.firstIndex(where: { $0.job == job }) else {
            return
        }
        change(&entry.cron[index])
    }

    /// Runs the handler; returns why it failed.
    private func attempt(_ app: ApplicationID, _ job: CronJob, _ slot: CronSlot) async -> String? {
        let instance: Instance
        do { instance = try await wake(app) } catch {
            return (error as? MartletError)?.message ?? "\(error)"
        }
        // The sweep leaves it alone from here on: nothing was awaited since it was found serving.
        instance.cronRuns.add(1, ordering: .relaxed)
        touch(app)
        defer {
            instance.cronRuns.subtract(1, ordering: .relaxed)
            touch(app)
        }
        let order = HostMessage.CronOrder(
            expr: job.schedule,
            path: job.path,
            scheduledTime: slot.rawValue * 60_000,
            id: "\(app)-\(slot.rawValue)-\(job.path ?? "")"
        )
        return await instance.worker.runCron(order, atMost: configuration.timeouts.cron)
    }

    /// Waits until a worker of the app serves.
    private func wake(_ app: ApplicationID) async throws -> Instance {
        let deadline = uptime() + configuration.timeouts.start + configuration.limits.holdTime
        var pause = Duration.milliseconds(2)
        repeat {
            guard !isStopping else { throw MartletError(.unavailable, "the host is stopping") }
            let entry = try entry(app)
            if case .serving(let id, _) = entry.machine.state, let instance = entry.awake?.instances[id],
                instance.stopReason == nil
            {
                return instance
            }
            switch entry.machine.state {
            case .asleep, .frozen, .stopping(_, isWanted: false), .quieting: handle(.requested, entry)
            case .backingOff(let until) where uptime() < until:
                throw MartletError(
                    .unavailable,
                    "\(app) could not be started: \(entry.lastFailure?.message ?? "it failed before")"
                )
            case .backingOff: handle(.requested, entry)
            default: break
            }
            try await Task.sleep(for: pause)
            pause = min(pause * 2, .milliseconds(50))
        } while uptime() < deadline
        throw MartletError(.timeout, "\(app) was not awake in time")
    }

    private func touch(_ app: ApplicationID) {
        entries[app]?.cell.lastActivity.store(csandbox_monotonic(), ordering: .relaxed)
    }

    /// The log is kept open for apps that are awake only.
    private func tidyLog(_ app: ApplicationID) {
        if entries[app]?.awake == nil { logs.release(app) }
    }
}

/// One job of one app.
struct CronKey: Hashable {
    var app: ApplicationID
    var job: CronJob
}
