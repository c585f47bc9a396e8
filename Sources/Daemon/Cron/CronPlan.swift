package import Control

/// Decides which jobs of one app are due.
///
///     last slot ──next(after:)──► in the future: wait
///                              └► now or past: the latest due slot, and
///                                   on time           run it
///                                   late, `once`      run it: one run makes up for all that were missed
///                                   late, `skip`      only note it
///
/// It knows no clock; whoever asks records the slot of a firing before it acts, so that a slot never runs twice.
package struct CronPlan: Sendable, Equatable {
    /// A job with the last slot that was decided for it.
    package struct Entry: Sendable, Equatable {
        package var job: CronJob
        package var lastSlot: CronSlot

        package init(job: CronJob, lastSlot: CronSlot) {
            self.job = job
            self.lastSlot = lastSlot
        }
    }

    /// What is to happen with a slot.
    package struct Firing: Sendable, Equatable {
        package var job: CronJob
        package var slot: CronSlot
        /// False when the slot was missed and the job does not catch up.
        package var runs: Bool
    }

    /// A slot that is not older than this many minutes is on time: the host was busy, not down.
    private static let tolerance = 2

    package var entries: [Entry]

    package init(entries: [Entry] = []) { self.entries = entries }

    /// What is due at `now`, and notes it.
    package mutating func due(at now: CronSlot) -> [Firing] {
        var firings: [Firing] = []
        for (index, entry) in entries.enumerated() where entry.lastSlot < now {
            // The settings and the worker's report were checked when the app was deployed.
            guard let schedule = try? CronSchedule(parsing: entry.job.schedule),
                let slot = schedule.last(until: now), slot > entry.lastSlot
            else { continue }
            entries[index].lastSlot = slot
            let isOnTime = now.rawValue - slot.rawValue < Self.tolerance
            firings.append(Firing(job: entry.job, slot: slot, runs: isOnTime || entry.job.catchUp == .once))
        }
        return firings
    }

    /// The entries of a new version: a job that stays keeps its last slot, a new one begins now.
    package func replaced(by jobs: [CronJob], at now: CronSlot) -> CronPlan {
        var seen: Set<String> = []
        return CronPlan(
            entries: jobs.filter { seen.insert($0.description).inserted }.map { job in
                let known = entries.first { $0.job.description == job.description }
                return Entry(job: job, lastSlot: known?.lastSlot ?? now)
            }
        )
    }
}
