import CProxy

/// Where an upstream listens.
public enum UpstreamAddress: Sendable, Hashable {
    /// A unix socket, by its path (at most 107 bytes).
    case unix(path: String)
    /// A numeric IPv4 or IPv6 address.
    ///
    /// Names are not looked up: that would block the loop.
    case tcp(host: String, port: UInt16)
}

/// One server that answers for an app.
///
/// Its identity is the object: kept-alive connections belong to it and are closed once it is not used any more.
public final class Upstream: Sendable {
    /// What differs from one upstream to the next.
    public struct Options: Sendable {
        /// How long the app may take until its answer begins; nil for the proxy's own limit.
        public var answerTimeout: Duration?
        /// Header lines that every request to it gets.
        public var addedFields: [(name: String, value: String)] = []
        /// Names of header lines that are taken out of requests, so that a client cannot pretend to be a peer.
        public var hiddenRequestFields: [String] = []
        /// Names of header lines that are taken out of answers, after the gate has seen them.
        public var hiddenAnswerFields: [String] = []
        /// Asked before any byte of an answer goes to the client.
        public var gate: (any AnswerGate)?
        /// The upstream is a proxy of this group: requests carry its secret, the hop count and what is known of the
        /// client.
        public var peers: PeerGroup?

        public init() {}
    }

    public let app: App
    public let address: UpstreamAddress

    let index: Int
    let gate: (any AnswerGate)?
    let peers: PeerGroup?
    let addedFields: [UInt8]
    let hiddenRequestFields: [[UInt8]]
    let hiddenAnswerFields: [[UInt8]]
    let answerMilliseconds: UInt64?

    /// Header lines in `options` that are not valid are left out.
    public init(app: App, address: UpstreamAddress, options: Options = Options()) {
        self.app = app
        self.address = address
        index = IndexPool.upstreams.take()
        gate = options.gate
        peers = options.peers
        addedFields = options.addedFields.flatMap { renderField(name: $0.name, value: $0.value) }
        hiddenRequestFields = options.hiddenRequestFields.map { Array($0.lowercased().utf8) }
        hiddenAnswerFields = options.hiddenAnswerFields.map { Array($0.lowercased().utf8) }
        answerMilliseconds = options.answerTimeout?.wholeMilliseconds
    }

    deinit { IndexPool.upstreams.give(index) }
}

/// `name: value` with its line end, or nothing where either has a character that it may not have.
func renderField(name: String, value: String) -> [UInt8] {
    let nameBytes = Array(name.utf8)
    let valueBytes = Array(value.utf8)
    guard !nameBytes.isEmpty, nameBytes.allSatisfy({ isClass($0, CPROXY_TOKEN) }),
        valueBytes.allSatisfy({ $0 == 9 || ($0 >= 0x20 && $0 != 0x7F) })
    else { return [] }
    return nameBytes + [0x3A, 0x20] + valueBytes + [13, 10]
}
