import CProxy

/// A request, as the router sees it.
///
/// It is valid during the call alone; what is not asked for costs nothing.
public struct RoutedRequest: ~Copyable {
    let bytes: Bytes
    let head: UnsafePointer<RequestHead>
    // Not counted: both outlive the call.
    unowned(unsafe) let table: FieldTable
    /// The host's name in lower case.
    let name: UnsafeBufferPointer<UInt8>
    unowned(unsafe) let front: Front

    /// The host's name: lower case, without a port and without a dot at its end.
    public var hostName: String { String(decoding: name, as: UTF8.self) }

    /// The Host header as it was sent, with its port.
    public var host: String { text(bytes, head.pointee.hostStart, head.pointee.hostEnd) }

    public var method: String { text(bytes, head.pointee.start, head.pointee.methodEnd) }

    /// Path and query.
    public var path: String {
        head.pointee.pathStart == head.pointee.pathEnd
            ? "/" : text(bytes, head.pointee.pathStart, head.pointee.pathEnd)
    }

    /// Whether the path begins so; compared as bytes, before percent-decoding.
    public func isPath(prefixed prefix: StaticString) -> Bool {
        let count = prefix.utf8CodeUnitCount
        guard head.pointee.pathEnd - head.pointee.pathStart >= count else { return false }
        let path = bytes + head.pointee.pathStart
        for index in 0..<count where path[index] != prefix.utf8Start[index] { return false }
        return true
    }

    /// The value of the first header line with this name, whatever its case.
    public func header(_ name: String) -> String? {
        findField(named: name, bytes, table, head.pointee.fieldCount)
    }

    /// The client's address in text: of the connection, or as the PROXY protocol or a peer said.
    public var clientAddress: String {
        guard front.peers != nil,
            let told = findField(named: "X-Forwarded-For", bytes, table, head.pointee.fieldCount)
        else { return front.addressText }
        return told
    }

    public var clientPort: UInt16 { front.port }

    /// Whether the client speaks TLS.
    public var isSecure: Bool {
        guard front.peers != nil,
            let told = findField(named: "X-Forwarded-Proto", bytes, table, head.pointee.fieldCount)
        else { return front.isSecure }
        return told == "https"
    }

    /// How many proxies of the listener's ``PeerGroup`` have sent the request on; 0 for a client's.
    public var peerHops: Int {
        front.peers == nil ? 0 : head.pointee.peerNumber(.peerHops, bytes, table) ?? 1
    }

    /// Which picture of the routes the peer used that sent the request; nil for a client's, and where it does not say.
    public var peerGeneration: Int? {
        front.peers == nil ? nil : head.pointee.peerNumber(.peerGeneration, bytes, table)
    }

    /// Whether the client asks for a tunnel (WebSocket).
    public var asksForUpgrade: Bool { head.pointee.asksForUpgrade }

    /// Calls `body` with the host's name, to look it up without an allocation.
    public func withHostName<Result>(_ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result { body(name) }
}
