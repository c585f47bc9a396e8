/// Makes the connections to peers in a way that the proxy itself does not know, such as with TLS.
public protocol PeerConnector: Sendable {
    /// Connects one end of a pair of connected sockets, which is the connector's from then on, with a peer: bytes pass
    /// in both directions, and the end of one side ends the other.
    ///
    /// Called on a loop's thread: it must not block. Where the peer is not reached, the connector writes
    /// ``PeerGroup/unreachable`` to the descriptor and closes it; the proxy then treats the request as one whose
    /// connection was refused.
    func connect(_ descriptor: Int32, to address: UpstreamAddress)
}

extension PeerGroup {
    /// What a ``PeerConnector`` answers in place of a peer that it does not reach.
    public static let unreachable = Array(
        "HTTP/1.1 503 Service Unavailable\r\nPeer-Refusal: unreachable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            .utf8
    )
}
