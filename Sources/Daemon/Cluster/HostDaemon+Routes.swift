import AsyncHTTPClient
import ClusterContract
import Control
import Dispatch
import Foundation
import Logging
import NIOCore
import NIOHTTP1
import Proxy
import ProxyTLS

/// The routes of the cluster: taken from control, from each other, and from the disk after a restart.
extension HostDaemon {
    /// Takes a change of the routes.
    ///
    /// - Returns: what the host has now; less than the change's generation when it needs the whole table.
    func publish(_ change: RouteChange) throws -> Int {
        guard let membership else { throw Self.notInCluster() }
        if let table = try membership.table?.applying(change) {
            try publish(table)
        } else {
            membership.hear(change.generation, from: nil)
        }
        return membership.generation
    }

    /// Takes a whole table into use, unless a newer one is.
    func publish(_ table: Control.RouteTable) throws {
        guard let membership, try membership.take(table) else { return }
        proxy?.publish(makeRouter())
        // No app has a way to another host, as it has none to its own.
        gateway?.denyPeers(table.hosts.map(\.peer.address))
        // Peers are told of it once requests go by it.
        membership.group.generation = table.generation
        dropDeparted()
        retryWaiting()
        areRoutesKept = false
    }

    /// Writes the routes in use to the disk, where that was not done yet.
    private func keepRoutes(_ membership: ClusterMembership) async {
        guard !areRoutesKept, let table = membership.table else { return }
        areRoutesKept = true
        let path = folder.routes
        do {
            try await onQueue(.global(qos: .utility)) {
                try StateFolder.write(try JSONFormat.encoder().encode(table), to: path, mode: 0o600)
            }
        } catch {
            logger.warning("the routes were not kept", metadata: ["error": "\(error)"])
        }
    }

    /// Requests that no host took are asked about again.
    func retryWaiting() {
        guard let membership else { return }
        for app in membership.waiting where app.activity.heldRequests > 0 { proxy?.retryHeld(app) }
        for entry in entries.values {
            guard case .handedOver = entry.departure, entry.cell.waiting.activity.heldRequests > 0 else {
                continue
            }
            proxy?.retryHeld(entry.cell.waiting)
        }
    }

    /// The routes that the host had when it last ran: what it may go by until somebody tells it newer ones.
    func loadRoutes() {
        guard let data = FileManager.default.contents(atPath: folder.routes) else { return }
        do {
            try publish(JSONFormat.decoder().decode(Control.RouteTable.self, from: data))
        } catch {
            logger.warning("the kept routes can not be read", metadata: ["error": "\(error)"])
        }
    }

    /// What goes on beside requests while the host is in a cluster.
    func clusterLoops() async {
        guard let membership else { return }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.retryLoop(membership) }
            group.addTask { await self.gossipLoop(membership) }
            group.addTask { await self.hearLoop(membership) }
            group.addTask { await self.lostPeersLoop(membership) }
            group.addTask { await self.leaseLoop(membership) }
            group.addTask { await self.statisticsLoop(membership.configuration.statisticsInterval) }
            // A graceful shutdown cancels nothing.
            _ = await stopping.wait()
            group.cancelAll()
        }
    }

    private func retryLoop(_ membership: ClusterMembership) async {
        while !Task.isCancelled, !isStopping {
            do { try await Task.sleep(for: membership.configuration.retryInterval) } catch { return }
            retryWaiting()
            await keepRoutes(membership)
        }
    }

    /// Asks another host from time to time, for the case that nobody told this one.
    private func gossipLoop(_ membership: ClusterMembership) async {
        while !Task.isCancelled, !isStopping {
            do { try await Task.sleep(for: membership.configuration.gossipInterval) } catch { return }
            guard let peer = membership.directory.all.filter({ $0.address != nil }).randomElement() else {
                continue
            }
            membership.hear(.max, from: peer.host)
        }
    }

    /// Fetches routes that the host has heard of.
    private func hearLoop(_ membership: ClusterMembership) async {
        for await heard in membership.heard {
            if isStopping { return }
            guard heard.generation > membership.generation else { continue }
            do {
                if let table = try await fetchRoutes(membership, from: heard.peer) { try publish(table) }
            } catch {
                logger.debug("routes were not fetched", metadata: ["error": "\(error)"])
            }
        }
    }

    /// The newest routes that can be had: from the host that told of them, else from control, else from any host.
    private func fetchRoutes(
        _ membership: ClusterMembership,
        from host: HostID?
    ) async throws -> Control.RouteTable? {
        let address = host.flatMap { membership.directory.peer($0)?.address }
        if let address { return try await membership.routes(at: address) }
        if let source = routesSource { return try await source() }
        guard let peer = membership.directory.all.compactMap(\.address).randomElement() else { return nil }
        return try await membership.routes(at: peer)
    }
}

extension ClusterMembership {
    /// A table has a few bytes for each slice and each exception; this is far more than any has.
    private static let maximumTableBytes = 64 << 20

    /// Asks a host for its routes.
    func routes(
        at address: HostAddress,
        timeout: Duration = .seconds(5)
    ) async throws -> Control.RouteTable {
        var request = HTTPClientRequest(url: "\(security == nil ? "http" : "https")://\(address)/")
        request.tlsConfiguration = security?.connector.clientConfiguration
        request.headers.add(name: "Host", value: ClusterView.internalName)
        request.headers.add(name: "Peer-Authorization", value: configuration.secret.peerSecret)
        request.headers.add(name: "Peer-Hops", value: "1")
        let response = try await HTTPClient.shared.execute(request, timeout: TimeAmount(timeout))
        let body = try await response.body.collect(upTo: Self.maximumTableBytes)
        guard response.status == .ok else {
            throw MartletError(.unavailable, "get routes from \(address): it answers \(response.status.code)")
        }
        return try JSONFormat.decoder().decode(Control.RouteTable.self, from: Data(body.readableBytesView))
    }
}
