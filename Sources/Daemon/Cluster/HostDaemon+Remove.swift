import Control
import Foundation
import Logging
import Proxy

/// Taking apps off a host that are not its own, or not any more.
extension HostDaemon {
    /// Forgets what was made for an app that will not come.
    func abandon(_ order: AbandonOrder) async throws {
        let databases = try clusterDatabases()
        let app = order.app
        await databases.abandonFollow(app)
        await pool.giveUp(app.rawValue)
        if let entry = entries[app] {
            // One that has left, and whose way back came to nothing, still sends requests on.
            guard entry.departure == nil else { return }
            handle(.suspend, entry)
            try await leave(entry, databases)
            entries[app] = nil
            table[app.rawValue] = nil
            proxy?.retryHeld(entry.cell.waiting)
        } else if await databases.epoch(of: app) != nil {
            _ = try await databases.giveUp(app, within: configuration.cluster?.moves.settle ?? .seconds(20))
        }
        try await removeRecord(of: app)
    }

    /// Takes an app off this host.
    func remove(_ order: RemoveOrder) async throws -> RemoveReport {
        let databases = try clusterDatabases()
        let app = order.app
        let bytes = Self.folderBytes(folder.app(app.rawValue))
        await databases.abandonFollow(app)
        if !order.keepsReplica {
            if let entry = entries[app], entry.departure == nil {
                try await delete(app)
            } else if entries[app] != nil {
                throw MartletError(.conflict, "\(app) is not this host's to delete")
            }
            return RemoveReport(bytes: bytes)
        }
        if let entry = entries[app] {
            if entry.departure == nil {
                handle(.suspend, entry)
                try await leave(entry, databases)
                entry.departure = .lost(reason: "it was taken off this host")
            }
            entry.isRemoved = true
            departed.insert(app)
        }
        try await removeRecord(of: app)
        dropDeparted()
        return RemoveReport(bytes: bytes)
    }

    private func removeRecord(of app: ApplicationID) async throws {
        let versions = try await store.versions(of: app).map(\.id)
        try await store.remove(app)
        watched.remove(app)
        logs.close(app)
        let trash = folder.stagingPath()
        rename(folder.app(app.rawValue), trash)
        // The next start of the daemon would remove it too.
        try? FileManager.default.removeItem(atPath: trash)
        var unused: [VersionID] = []
        for version in versions where try await !store.isUsed(version) { unused.append(version) }
        removeFiles(of: unused)
    }

    /// Forgets apps that have been removed, once the routes say where they are; until then their requests go where the last
    /// order said.
    func dropDeparted() {
        guard let routes = membership?.routes else { return }
        let gone = departed.compactMap { entries[$0] }
        if gone.contains(where: \.isRemoved) {
            spawn { [self] in
                // A loop that still goes by older routes would find the app nowhere.
                await proxy?.synchronize()
                await dropRemoved()
            }
        }
        // A host that was started again may have another address.
        for entry in gone {
            guard case .handedOver(let host) = entry.departure, let peer = membership?.directory.peer(host)
            else {
                continue
            }
            send(entry, to: peer)
        }
        // Lost ones are where the routes say, once they say another host.
        for entry in gone {
            guard case .lost = entry.departure, case .peer(let peer) = routes.place(of: entry.record.id)
            else { continue }
            send(entry, to: peer)
        }
    }

    private func dropRemoved() {
        guard let routes = membership?.routes else { return }
        for app in departed {
            guard let entry = entries[app], entry.isRemoved, case .peer = routes.place(of: app) else {
                continue
            }
            departed.remove(app)
            entries[app] = nil
            table[app.rawValue] = nil
            watched.remove(app)
            proxy?.retryHeld(entry.cell.waiting)
            proxy?.forget(entry.cell.waiting)
        }
    }

    static func folderBytes(_ path: String) -> Int {
        guard let files = FileManager.default.enumerator(atPath: path) else { return 0 }
        var sum = 0
        while files.nextObject() != nil { sum += files.fileAttributes?[.size] as? Int ?? 0 }
        return sum
    }
}
