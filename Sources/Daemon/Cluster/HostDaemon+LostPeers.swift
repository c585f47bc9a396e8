import Control
import Logging
import Proxy

/// Requests that wait for a host that the routes do not name any more.
///
/// One that leaves finishes what runs there, and answers when it is asked for its routes. One that was killed, or whose
/// machine is lost, frozen or cut off, does not: its connections may stay open for as long as it is silent, so what waits
/// for it is ended here.
extension HostDaemon {
    /// How long such a host may take to answer, and how often it is asked while requests wait for it.
    private static let patience = Duration.seconds(2)

    func lostPeersLoop(_ membership: ClusterMembership) async {
        await withDiscardingTaskGroup { group in
            for await peer in membership.departed {
                group.addTask { await self.watch(peer, membership) }
            }
            group.cancelAll()
        }
    }

    private func watch(_ peer: Peer, _ membership: ClusterMembership) async {
        guard let upstream = peer.upstream, let address = peer.address else { return }
        while !membership.names(peer), !peer.waiting.isUnused {
            do {
                _ = try await membership.routes(at: address, timeout: Self.patience)
                try await Task.sleep(for: Self.patience)
            } catch {
                if Task.isCancelled { return }
                logger.notice(
                    "what waits for a lost host is ended",
                    metadata: ["host": "\(peer.host)", "address": "\(address)"]
                )
                proxy?.giveUp(upstream)
                return
            }
        }
    }
}

extension App {
    /// Nothing of it is at an upstream.
    fileprivate var isUnused: Bool { activity.runningRequests == 0 && activity.openTunnels == 0 }
}
