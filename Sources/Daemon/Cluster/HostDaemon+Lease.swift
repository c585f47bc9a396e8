import Control
import Foundation
import Logging
import Proxy
import Storage

/// What a host does when its right to serve ends, and when it comes back.
///
/// ```
///            the lease is over, or about to be
///   serving ───────────────────────────────────► workers are ended, requests get 503
///      ▲                                             │
///      └── each app that the store still says is ────┘ a lease again
///          this host's is served on
/// ```
/// The router and the gate ask the lease's clock for every request and answer; this ends what runs besides.
extension HostDaemon {
    func leaseLoop(_ membership: ClusterMembership) async {
        var was = false
        while !Task.isCancelled, !isStopping {
            let isValid = membership.right.isValid
            if isValid != was {
                was = isValid
                if isValid { await comeBack() } else { standDown() }
            }
            do { try await Task.sleep(for: .milliseconds(50)) } catch { return }
        }
    }

    /// Ends all workers at once: from the lease's end on another host may have any of the apps.
    private func standDown() {
        logger.error("the host may not serve: its lease is over", metadata: ["host": "\(configuration.host)"])
        // Its apps may be elsewhere already.
        membership?.hear(.max, from: nil)
        for entry in entries.values {
            let instances = entry.awake.map { Array($0.instances.values) } ?? []
            if entry.departure == nil {
                handle(.suspend, entry)
                entry.departure = .lost(reason: "the host's lease was over")
                departed.insert(entry.record.id)
            }
            for instance in instances { instance.worker.kill() }
            if let refusal = membership?.permission.refusal {
                proxy?.refuseHeld(entry.cell.waiting, with: refusal)
            }
        }
    }

    /// Serves the apps on that are still this host's.
    private func comeBack() async {
        for (app, entry) in entries {
            guard case .lost = entry.departure, !entry.isRemoved else { continue }
            await reclaim(app)
        }
    }

    /// Looks up in the store whether an app is this host's, and serves it on or lets it go.
    func reclaim(_ app: ApplicationID) async {
        guard let databases, let entry = entries[app] else { return }
        do {
            _ = try await databases.place(app)
            guard entries[app] === entry, case .lost = entry.departure else { return }
            entry.departure = nil
            handle(.resume, entry)
        } catch let error as MartletError where error.code == .ownedElsewhere {
            lose(entry, to: (error.cause as? OrderRefusal)?.holder, because: error.message)
        } catch {
            logger.error("an app is not served on", metadata: ["app": "\(app)", "error": "\(error)"])
            spawn { [self] in
                // Cancelled only when the daemon stops.
                try? await Task.sleep(for: .seconds(1))
                if membership?.right.isValid == true { await reclaim(app) }
            }
        }
    }

    /// The apps that are this host's by the store, and under which epochs.
    ///
    /// Others are let go. Asked before the host serves.
    func residents() async throws -> [HostRegistration.Resident] {
        let apps = entries.filter { $0.value.departure == nil }.map(\.key)
        return try await withThrowingTaskGroup(of: HostRegistration.Resident?.self) { group in
            var residents: [HostRegistration.Resident] = []
            for (index, app) in apps.enumerated() {
                if index >= Self.lookUpsAtOnce, let resident = try await group.next() ?? nil {
                    residents.append(resident)
                }
                group.addTask { try await self.resident(app) }
            }
            for try await resident in group { if let resident { residents.append(resident) } }
            return residents.sorted { $0.app < $1.app }
        }
    }

    private static let lookUpsAtOnce = 16

    private func resident(_ app: ApplicationID) async throws -> HostRegistration.Resident? {
        guard let databases, let entry = entries[app] else { return nil }
        do {
            return HostRegistration.Resident(app: app, epoch: try await databases.place(app).epoch)
        } catch let error as MartletError where error.code == .ownedElsewhere {
            lose(entry, to: (error.cause as? OrderRefusal)?.holder, because: error.message)
            return nil
        }
    }
}
