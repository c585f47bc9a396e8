import AsyncHTTPClient
import ClusterContract
import Control
import Foundation
import Logging
import NIOCore
import NIOHTTP1
import ProxyTLS

/// The cut-over of a move, from one host to the other with nobody in between.
///
/// ```
///   old host                                    new host, which has followed the databases
///   quiesce: hold, drain, close, sync, release
///       └──────────── adopt at N+1 ───────────► claim, finish the copies, start
///   hand over: held requests go there ◄──────── report
///
///   refused, or no answer: claim N+1 here; the store says who was first
/// ```
extension HostDaemon {
    /// Gives an app to another host; see ``HostOrders/cutOver(_:)``.
    func cutOver(_ order: CutOverOrder) async throws -> CutOverReport {
        guard let membership else { throw Self.notInCluster() }
        let begin = uptime()
        let closed = try await quiesce(order.quiesce)
        guard let since = entries[order.app]?.departure?.quiescedSince else {
            throw MartletError(.unavailable, "\(order.app) has gone on here; try again")
        }
        do {
            var adoption = order.adopt
            adoption.isAwake = closed.wasAwake
            adoption.positions = closed.positions
            let adopted = try await membership.ask(order.host, to: adoption)
            let handedOver = try await handOver(
                HandOverOrder(app: order.app, number: order.number, host: order.host, epoch: adopted.epoch)
            )
            return CutOverReport(
                quiesce: closed,
                adopt: adopted,
                handOver: handedOver,
                milliseconds: (uptime() - begin).milliseconds
            )
        } catch {
            try Task.checkCancellation()
            await goOnAfterRefusal(order, since: since, because: error)
            throw error
        }
    }

    /// Requests wait: nobody but the store needs to be asked who goes on.
    private func goOnAfterRefusal(
        _ order: CutOverOrder,
        since: Uptime,
        because reason: any Error
    ) async {
        let app = order.app
        logger.warning(
            "an app could not be given to another host",
            metadata: ["app": "\(app)", "host": "\(order.host.id)", "error": "\(reason)"]
        )
        guard entries[app]?.departure?.quiescedSince == since else { return }
        do {
            _ = try await goOn(app, ended: order.adopt.endedTerms)
        } catch {
            // The next order decides, or the end of the patience.
            logger.info(
                "the host does not go on with an app whose move failed",
                metadata: ["app": "\(app)", "error": "\(error)"]
            )
        }
    }
}

extension Entry.Departure {
    /// Since when the app waits for its next owner, if it does.
    var quiescedSince: Uptime? {
        guard case .quiesced(_, let since) = self else { return nil }
        return since
    }
}

extension ClusterMembership {
    private static let maximumAnswerBytes = 1 << 20
    /// Beyond any restore; whoever waits for requests that are held does not wait so long.
    private static let adoptionLimit = TimeAmount.seconds(600)

    /// For requests to other hosts; it lives as long as the process.
    ///
    /// One that takes no connection is not asked again: requests of clients wait for the answer.
    static let client: HTTPClient = {
        var configuration = HTTPClient.Configuration()
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.timeout.connect = .seconds(3)
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }()

    /// A request to another host itself, not to an app on it.
    ///
    /// `name`: which of the host names that only hosts use.
    func request(to address: HostAddress, _ name: String) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: "\(security == nil ? "http" : "https")://\(address)/")
        request.tlsConfiguration = security?.connector.clientConfiguration
        request.headers.add(name: "Host", value: name)
        request.headers.add(name: "Peer-Authorization", value: configuration.secret.peerSecret)
        request.headers.add(name: "Peer-Hops", value: "1")
        return request
    }

    /// Has another host adopt an app.
    ///
    /// - Throws: ``MartletError``: the other host's, or `unavailable` when it can't be said what it did.
    func ask(_ host: RouteHost, to order: AdoptOrder) async throws -> AdoptReport {
        let action = "give \(order.app) to host \(host.id)"
        let body: Data
        var request = request(to: host.peer, ClusterView.ordersName)
        request.method = .POST
        request.headers.add(name: "Content-Type", value: "application/json")
        request.body = .bytes(ByteBuffer(bytes: try JSONFormat.encoder().encode(order)))
        do {
            let response = try await Self.client.execute(request, timeout: Self.adoptionLimit)
            let bytes = try await response.body.collect(upTo: Self.maximumAnswerBytes)
            guard response.status == .ok else {
                throw MartletError(.unavailable, "\(action): it answers \(response.status.code)")
            }
            body = Data(bytes.readableBytesView)
        } catch let error as MartletError {
            throw error
        } catch {
            throw MartletError(.unavailable, "\(action): its answer did not arrive", cause: error)
        }
        return try JSONFormat.decoder().decode(PeerOrders.Answer.self, from: body).get()
    }
}
