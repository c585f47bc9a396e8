//   booting ──ready──► warm ──assign──► starting ──started──► running ⇄ frozen
//      │                 │                 │ failed              │ stop
//      └─────────────────┴─────────────────┴─────────────────────┴──► ended
//
// The order is kept by who owns the worker: the pool until it is assigned, then the app's runner.

import CSandbox
import Dispatch
import Foundation
import Logging
import Synchronization

/// One sandboxed process with the harness in it.
package final class Worker: Sendable {
    package let id: WorkerID
    /// The unix socket on which it answers HTTP.
    package let socketPath: String
    package let child: ChildProcess
    package let group: any ControlGroup

    private let site: WorkerSite
    private let boot: WorkerBoot
    private let control: ControlConnection
    private let inbox: Inbox
    private let output: Output
    /// The freezer has two users: the app's sleep, and the brake of one that writes too fast.
    private let stops = Mutex(Stops())

    private struct Stops {
        var sleeps = false
        var isBraked = false
        /// It ends: nothing may keep it from that.
        var ends = false
    }

    /// How the worker ended.
    package var end: Once<ProcessEnd> { child.end }

    private init(
        id: WorkerID,
        site: WorkerSite,
        boot: WorkerBoot,
        group: any ControlGroup,
        child: ChildProcess,
        control: ControlConnection,
        inbox: Inbox,
        output: Output
    ) {
        self.id = id
        self.site = site
        self.boot = boot
        self.group = group
        self.child = child
        self.control = control
        self.inbox = inbox
        self.output = output
        socketPath = boot.folder + "/" + Self.socketName
    }

    static let socketName = "a.sock"
    static let controlName = "c.sock"

    // MARK: - Life

    /// Boots a worker and waits until its harness is ready.
    ///
    /// - Throws: ``SystemError``, or ``WorkerError`` when it ended or was not ready in time.
    package static func boot(
        _ id: WorkerID,
        folders: WorkerFolders?,
        memoryLimit: Int? = nil,
        on site: WorkerSite,
        haste: BootHaste? = nil,
        deadline: Duration
    ) async throws -> Worker {
        let folder = site.runFolder + "/" + id.description
        let queue = DispatchQueue(label: "worker-\(id)", target: .global(qos: .userInitiated))
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let group = try site.groups.make("w" + id.description)
        let network: WorkerNetwork?
        do {
            network = try await onQueue(queue) { try site.gateway?.makeNetwork() }
        } catch {
            _ = group.remove()
            try? FileManager.default.removeItem(atPath: folder)  // It is empty.
            throw error
        }
        var boot = WorkerBoot(
            id: id,
            folder: folder,
            folders: folders,
            group: group,
            queue: queue,
            network: network
        )
        if folders?.cache == nil { boot.runtimeCache = site.runtimeCache?.usable }
        let inbox = Inbox()
        let output = Output()
        do {
            var limits = site.bootLimits
            if let memoryLimit { limits.memoryBytes = memoryLimit }
            try group.set(limits)
            haste?.attach(group)
            let control = try ControlConnection(path: folder + "/" + controlName, queue: queue) {
                inbox.take($0)
            }
            do {
                let layout = site.isolator.layout(of: boot)
                let child = try site.isolator.launch(
                    boot,
                    arguments: site.harness.arguments(
                        layout,
                        site.isolator.guardian,
                        v8HeapMegabytes: WorkerSite.heapMegabytes(
                            forLimit: memoryLimit ?? site.standardMemoryBytes
                        )
                    ),
                    environment: site.harness.environment(layout),
                    onLine: { output.take($0, $1) }
                )
                site.note(started: child.pid, id)
                let worker = Worker(
                    id: id,
                    site: site,
                    boot: boot,
                    group: group,
                    child: child,
                    control: control,
                    inbox: inbox,
                    output: output
                )
                guard try await worker.waitUntilReady(deadline) else {
                    await worker.destroy()
                    throw WorkerError.notReady(after: deadline, output: output.tail())
                }
                return worker
            } catch {
                control.close()
                throw error
            }
        } catch {
            _ = group.destroy()
            network?.close()
            // The next start of the daemon would remove it too.
            try? FileManager.default.removeItem(atPath: folder)
            throw error
        }
    }

    private func waitUntilReady(_ deadline: Duration) async throws -> Bool {
        let ended = Task { [self] in
            guard let end = await child.end.wait() else { return }
            inbox.ready.set(.failure(.ended(end, output: output.tail())))
        }
        defer { ended.cancel() }
        switch await inbox.ready.wait(atMost: deadline) {
        case .success: return true
        case .failure(let error): throw error
        case nil: return false
        }
    }

    /// Hands an app over and waits until it has started.
    ///
    /// - Throws: ``WorkerError`` with the app's own error, or ``SystemError``.
    package func start(_ order: StartOrder, sink: @escaping OutputSink) async throws -> WorkerMessage.Started
    {
        output.attach(sink)
        // Loading an app is the most work it ever does at once; it gets more of the CPU for that.
        let normal = order.limits.cpu
        let waking = normal.map { max($0, site.wakingCPU) }
        var limits = order.limits
        limits.cpu = waking
        limits.reads = site.reads
        group.setYielding(order.yieldsCPU)
        let relief = order.yieldsCPU ? relieve(after: .seconds(1)) : nil
        defer { relief?.cancel() }
        try group.set(limits)
        if let network = boot.network, let gateway = site.gateway {
            try gateway.apply(order.network, to: network) { reason in
                sink(.error, ArraySlice(Array("network: \(reason)".utf8)))
            }
        }
        if site.isolator.graftsFolders {
            guard let pid = control.peer.value, pid > 0 else {
                throw SystemError(ESRCH, "find the process of worker \(id)")
            }
            if let bytes = order.fileBytes {
                try SystemError.check(
                    csandbox_limit_file_size(pid, UInt64(bytes)),
                    "limit the files of worker \(id)"
                )
            }
            try await site.isolator.graft(order.folders, into: boot, pid: pid)
        }
        let layout = site.isolator.layout(of: boot)
        try await control.send(.start(order.assignment(layout)))
        let ended = Task { [self] in
            guard let end = await child.end.wait() else { return }
            inbox.started.set(.failure(.ended(end, output: output.tail())))
        }
        defer { ended.cancel() }
        // The harness gives up at the deadline by itself and says where it was; a busy loop needs the second limit.
        switch await inbox.started.wait(atMost: order.deadline + .seconds(1)) {
        case .success(let started):
            if normal != waking { try group.set(order.limits) }
            return started
        case .failure(let error): throw error
        case nil:
            try Task.checkCancellation()
            throw WorkerError.hangs(after: order.deadline)
        }
    }

    /// Where other apps leave it nothing, it must start all the same.
    private func relieve(after time: Duration) -> Task<Void, any Error> {
        Task { [group] in
            try await Task.sleep(for: time)
            group.setYielding(false)
        }
    }

    /// Runs a job and waits for its end; returns why it failed.
    package func runCron(_ order: HostMessage.CronOrder, atMost time: Duration) async -> String? {
        let done = inbox.expectCron(order.id)
        defer { inbox.forgetCron(order.id) }
        do { try await control.send(.cron(order)) } catch { return "the worker does not listen: \(error)" }
        let ended = Task { [self] in
            guard let end = await child.end.wait() else { return }
            done.set(.init(id: order.id, ok: false, message: "the worker \(end) before the job was over"))
        }
        defer { ended.cancel() }
        guard let result = await done.wait(atMost: time) else {
            return "it was not over after \(time.milliseconds / 1000) s"
        }
        return result.ok ? nil : result.message ?? "the handler failed"
    }

    /// Asks the app to end, waits for it, and after the grace ends it by force.
    package func stop(_ reason: HostMessage.StopReason, grace: Duration) async {
        endSoon()
        do {
            try await control.send(.stop(reason: reason, grace: grace))
            if await child.end.wait(atMost: grace + .seconds(2)) != nil { return await destroy() }
        } catch {
            // It does not listen any more: it is ended by force below.
        }
        await destroy()
    }

    package func freeze() async throws {
        try await onQueue(boot.queue) { [self] in
            try stops.withLock { stops in
                guard !stops.ends else { return }
                stops.sleeps = true
                do { try group.freeze() } catch {
                    stops.sleeps = false
                    throw error
                }
            }
        }
    }

    package func thaw() throws {
        try stops.withLock { stops in
            (stops.sleeps, stops.isBraked) = (false, false)
            try group.thaw()
        }
    }

    /// Stops it for a moment, because it uses too much; on a thread that may wait.
    func brake() {
        stops.withLock { stops in
            guard !stops.ends, !stops.sleeps else { return }
            stops.isBraked = true
            // Where it cannot be stopped, it goes on.
            try? group.brake()
        }
    }

    func releaseBrake() {
        stops.withLock { stops in
            guard stops.isBraked else { return }
            stops.isBraked = false
            if !stops.sleeps { try? group.thaw() }  // Its end is noticed if that fails.
        }
    }

    /// From now on it is not stopped any more, so that it can end.
    private func endSoon() {
        stops.withLock { stops in
            stops.ends = true
            if stops.isBraked || stops.sleeps { try? group.thaw() }  // It is ended by force then.
            (stops.isBraked, stops.sleeps) = (false, false)
        }
    }

    /// Ends its process by force; the rest follows from its end.
    package func kill() {
        child.signal(SIGKILL)
        // A frozen process takes the signal once it runs again.
        endSoon()
    }

    /// Ends the process whatever it does, and removes everything that belongs to the worker.
    package func destroy() async {
        kill()
        let group = group
        // A frozen process ends only once it runs again, so the group goes first.
        let isGone = try? await onQueue(boot.queue) { group.destroy() }  // It throws nothing.
        _ = await child.end.wait(atMost: .seconds(5))
        control.close()
        if isGone != true { _ = group.destroy() }
        boot.network?.close()
        site.forget(id)
        // The next start of the daemon would remove it too.
        try? FileManager.default.removeItem(atPath: boot.folder)
    }

    // MARK: - What is known of it

    /// Called with each change of what keeps the app awake.
    package func onActivity(_ body: @escaping @Sendable (WorkerMessage.Activity) -> Void) {
        inbox.onActivity(body)
    }

    package var activity: WorkerMessage.Activity { inbox.activity }

    /// The last lines of its output, for messages.
    package func lastOutput() -> String { output.tail() }

    package typealias OutputSink = @Sendable (ChildProcess.Output, ArraySlice<UInt8>) -> Void
}
