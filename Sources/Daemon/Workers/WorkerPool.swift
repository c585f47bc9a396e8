import Foundation
package import Logging

/// Warm workers, and those that ask for one.
package actor WorkerPool {
    private let site: WorkerSite
    private let logger: Logger
    private let bootDeadline: Duration
    private var plan: PoolPlan
    private var warm: [Worker] = []
    /// Warm workers kept for apps that will need one soon, by the app.
    private var kept: [String: Worker] = [:]
    private var booting = 0
    private var waiting: [Waiting] = []
    private var nextKey = 0
    private var nextID: Int
    private var isClosed = false
    private var isMemoryShort = false
    private var lastFailure: (any Error)?
    private var bootTasks: [Int: Task<Void, Never>] = [:]
    private var hastes: [Int: BootHaste] = [:]
    private var endings: [Int: Task<Void, Never>] = [:]

    private struct Waiting {
        let key: Int
        var isUrgent: Bool
        let continuation: CheckedContinuation<Worker, any Error>
    }

    /// `firstID`: the first worker's number.
    package init(
        site: WorkerSite,
        limits: PoolPlan.Limits,
        bootDeadline: Duration,
        firstID: Int = 1,
        logger: Logger
    ) {
        self.site = site
        plan = PoolPlan(limits: limits)
        self.bootDeadline = bootDeadline
        nextID = firstID
        self.logger = logger
    }

    package struct Counts: Sendable, Equatable {
        package var warm: Int
        package var booting: Int
        package var waiting: Int
    }

    package var counts: Counts { Counts(warm: warm.count, booting: booting, waiting: waiting.count) }

    /// Whether workers can be kept for apps that are not known yet.
    package nonisolated var isUsable: Bool { site.isolator.graftsFolders }

    /// Keeps a warm worker for an app, so that its start waits for none and nothing is booted beside it.
    ///
    /// It waits for one where none is warm. At most ``keptLimit`` are kept; further ones are not.
    ///
    /// - Throws: as ``take(for:isUrgent:)`` does.
    package func keep(for app: String) async throws {
        guard kept[app] == nil, kept.count < Self.keptLimit else { return }
        let worker = try await take()
        // Another may have come first, or the pool may have been closed meanwhile.
        guard kept[app] == nil, !isClosed else { return await worker.destroy() }
        kept[app] = worker
    }

    /// The app will not come: its worker is anybody's.
    package func giveUp(_ app: String) {
        guard let worker = kept.removeValue(forKey: app) else { return }
        guard worker.end.value == nil else { return retire(worker) }
        if waiting.isEmpty {
            warm.append(worker)
        } else {
            waiting.removeFirst().continuation.resume(returning: worker)
        }
        adjust()
    }

    private static let keptLimit = 8

    /// The worker that is kept for an app, else a warm one, or the next one that is.
    ///
    /// `isUrgent`: whether it may be booted at the cost of apps that run; otherwise it may only after half a second.
    ///
    /// - Throws: `CancellationError`, or why no worker can be booted.
    package func take(for app: String? = nil, isUrgent: Bool = true) async throws -> Worker {
        guard !isClosed else { throw CancellationError() }
        if let app, let worker = kept.removeValue(forKey: app) {
            if worker.end.value == nil { return worker }
            retire(worker)
        }
        plan.taken(now: uptime())
        while let worker = warm.popLast() {
            guard worker.end.value == nil else { continue }
            adjust()
            return worker
        }
        let key = nextKey
        nextKey += 1
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                guard !Task.isCancelled else { return continuation.resume(throwing: CancellationError()) }
                waiting.append(Waiting(key: key, isUrgent: isUrgent, continuation: continuation))
                if isUrgent { hurry() } else { hurry(for: key, after: .milliseconds(500)) }
                adjust()
            }
        } onCancel: {
            // Cancellation is not async, so the actor is told by a task of its own.
            Task { await self.cancel(key) }
        }
    }

    /// Boots a worker with an app's folders in place from the start.
    ///
    /// `memoryLimit`: in bytes, where it is not the standard one.
    package func boot(_ folders: WorkerFolders, memoryLimit: Int?) async throws -> Worker {
        guard !isClosed else { throw CancellationError() }
        return try await Worker.boot(
            takeID(),
            folders: folders,
            memoryLimit: memoryLimit,
            on: site,
            deadline: bootDeadline
        )
    }

    package func takeID() -> WorkerID {
        defer { nextID += 1 }
        return WorkerID(nextID)
    }

    /// Boots or retires workers as the plan says.
    ///
    /// Call it now and then.
    package func adjust() {
        guard isUsable, !isClosed else { return }
        warm.removeAll { worker in
            guard worker.end.value != nil else { return false }
            retire(worker)
            return true
        }
        let stock = PoolPlan.Stock(warm: warm.count, booting: booting, waiting: waiting.count)
        switch plan.decide(stock, now: uptime(), isMemoryShort: isMemoryShort) {
        case .stay: failWaiting()
        case .boot(let count): for _ in 0..<count { startBoot() }
        case .retire(let count):
            for worker in warm.prefix(count) { retire(worker) }
            warm.removeFirst(count)
        }
    }

    package func setMemoryShort(_ isShort: Bool) {
        isMemoryShort = isShort
        adjust()
    }

    /// Waits until as many workers are warm as the plan wants, at most for `time`.
    package func fill(atMost time: Duration) async {
        let end = uptime() + time
        adjust()
        while uptime() < end, warm.count < plan.target, !isClosed, isUsable {
            do { try await Task.sleep(for: .milliseconds(5)) } catch { return }
            adjust()
        }
    }

    /// Ends all warm workers; nothing is booted any more.
    package func close() async {
        isClosed = true
        for one in waiting { one.continuation.resume(throwing: CancellationError()) }
        waiting = []
        for task in bootTasks.values { task.cancel() }
        for task in bootTasks.values { await task.value }
        for task in endings.values { await task.value }
        let workers = warm + kept.values
        warm = []
        kept = [:]
        await withDiscardingTaskGroup { group in
            for worker in workers { group.addTask { await worker.destroy() } }
        }
    }

    /// Ends a worker beside everything else; closing the pool waits for it.
    private func retire(_ worker: Worker) {
        endings[worker.id.number] = Task {
            await worker.destroy()
            endings[worker.id.number] = nil
        }
    }

    // MARK: - Booting

    private func hurry() {
        for haste in hastes.values { haste.hurry() }
    }

    private func hurry(for key: Int, after time: Duration) {
        // Not waited for: when it comes, nobody may wait any more.
        Task {
            try await Task.sleep(for: time)
            guard let index = waiting.firstIndex(where: { $0.key == key }) else { return }
            waiting[index].isUrgent = true
            hurry()
        }
    }

    private func startBoot() {
        let id = takeID()
        let haste = BootHaste(isUrgent: waiting.contains(where: \.isUrgent))
        hastes[id.number] = haste
        booting += 1
        // Kept, so that closing the pool waits for it.
        bootTasks[id.number] = Task {
            do {
                let worker = try await Worker.boot(
                    id,
                    folders: nil,
                    on: site,
                    haste: haste,
                    deadline: bootDeadline
                )
                await booted(worker)
            } catch {
                bootFailed(id, error)
            }
        }
    }

    private func booted(_ worker: Worker) async {
        booting -= 1
        bootTasks[worker.id.number] = nil
        hastes[worker.id.number] = nil
        plan.booted()
        lastFailure = nil
        guard !isClosed else { return await worker.destroy() }
        if waiting.isEmpty {
            warm.append(worker)
        } else {
            // Who must be served first is; otherwise in turn.
            let index = waiting.firstIndex(where: \.isUrgent) ?? 0
            waiting.remove(at: index).continuation.resume(returning: worker)
        }
        adjust()
    }

    private func bootFailed(_ id: WorkerID, _ error: any Error) {
        booting -= 1
        bootTasks[id.number] = nil
        hastes[id.number] = nil
        guard !isClosed else { return }
        plan.bootFailed(now: uptime())
        lastFailure = error
        logger.error("a worker could not be booted", metadata: ["worker": "\(id)", "error": "\(error)"])
        failWaiting()
    }

    /// While booting fails and pauses, those that wait are told why.
    private func failWaiting() {
        guard booting == 0, warm.isEmpty, let lastFailure, let retry = plan.nextAttempt, retry > uptime()
        else { return }
        let all = waiting
        waiting = []
        for one in all { one.continuation.resume(throwing: lastFailure) }
    }

    private func cancel(_ key: Int) {
        guard let index = waiting.firstIndex(where: { $0.key == key }) else { return }
        waiting.remove(at: index).continuation.resume(throwing: CancellationError())
    }
}
