import Synchronization

/// Proxies that believe each other: those of one cluster.
///
/// The same object is given to the listener that peers connect to (``ProxyConfiguration/Listener/peers``) and to the
/// upstreams that are peers (``Upstream/Options/peers``).
///
/// | header | in | says |
/// |---|---|---|
/// | `Peer-Authorization` | requests | the secret |
/// | `Peer-Hops` | requests | how many proxies of the group have sent the request on, this one included |
/// | `Peer-Generation` | requests, answers | the sender's ``generation``; in answers where it is newer than the request's |
/// | `Peer-Refusal` | answers | the request was not handled (`misdirected`, `too_many_hops`; `unreachable` from a ``PeerConnector``): it is safe to send it elsewhere |
///
/// None of them ever reaches an app or a client, nor is believed from one.
public final class PeerGroup: Sendable {
    /// A request that this many proxies have sent on is not sent to another: 508.
    public let maximumHops: Int
    /// Told on a loop's thread that a peer knows a newer picture of the routes: it must not block.
    let onNewerGeneration: @Sendable (_ generation: Int, _ peer: Upstream) -> Void

    /// How connections to peers are made, where not by the proxy itself.
    let connector: (any PeerConnector)?

    private let number = Atomic<Int>(0)
    private let secrets: Mutex<Secrets>

    private struct Secrets {
        /// `Peer-Authorization: …` with its line end.
        var line: [UInt8]
        var accepted: [[UInt8]]
    }

    /// A secret has 16 to 512 visible ASCII characters.
    ///
    /// `alsoAccepted`: secrets that peers may still send, while a new one is brought to all of them.
    /// `connector`: makes the connections to peers; nil for TCP without more.
    ///
    /// - Throws: ``ProxyError`` when a secret is too short, too long or has other characters.
    public init(
        secret: String,
        alsoAccepted: [String] = [],
        maximumHops: Int = 3,
        connector: (any PeerConnector)? = nil,
        onNewerGeneration: @escaping @Sendable (_ generation: Int, _ peer: Upstream) -> Void = { _, _ in }
    ) throws {
        self.maximumHops = min(max(maximumHops, 1), 99)
        self.connector = connector
        self.onNewerGeneration = onNewerGeneration
        secrets = Mutex(try Self.make(secret, alsoAccepted))
    }

    /// Which picture of the routes this proxy uses; 0 when it does not say.
    ///
    /// Set it when the router has been published.
    public var generation: Int {
        get { number.load(ordering: .relaxed) }
        set { number.store(newValue, ordering: .relaxed) }
    }

    /// Sends another secret from now on, and accepts it beside the ones named.
    ///
    /// - Throws: as the initializer, and then changes nothing.
    public func replaceSecret(with secret: String, alsoAccepted: [String]) throws {
        let made = try Self.make(secret, alsoAccepted)
        secrets.withLock { $0 = made }
    }

    private static func make(_ secret: String, _ others: [String]) throws -> Secrets {
        for candidate in [secret] + others {
            guard (16...512).contains(candidate.utf8.count),
                candidate.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
            else {
                // The secret itself is not repeated: errors are logged.
                throw ProxyError(
                    code: .invalidConfiguration,
                    message: "use a secret for peers: it must have 16 to 512 visible ASCII characters",
                    errorNumber: nil
                )
            }
        }
        return Secrets(
            line: renderField(name: "Peer-Authorization", value: secret),
            accepted: ([secret] + others).map { Array($0.utf8) }
        )
    }

    /// Whether the bytes are a secret of the group.
    ///
    /// Takes the same time wherever they differ.
    func isSecret(_ bytes: Bytes, _ count: Int) -> Bool {
        secrets.withLock { secrets in
            var isFound = false
            for secret in secrets.accepted where secret.count == count {
                var difference: UInt8 = 0
                for index in 0..<count { difference |= secret[index] ^ bytes[index] }
                isFound = difference == 0 || isFound
            }
            return isFound
        }
    }

    /// Writes the lines that a request to a peer has.
    func putLines(hops: Int, into writer: inout ByteWriter) {
        secrets.withLock { secrets in
            secrets.line.withUnsafeBufferPointer { line in
                if let base = line.baseAddress { writer.put(base, line.count) }
            }
        }
        writer.put("Peer-Hops: ")
        writer.put(number: hops)
        writer.put("\r\n")
        let generation = generation
        if generation > 0 { Self.putGeneration(generation, into: &writer) }
    }

    static func putGeneration(_ generation: Int, into writer: inout ByteWriter) {
        writer.put("Peer-Generation: ")
        writer.put(number: generation)
        writer.put("\r\n")
    }

    /// Room for what ``putLines(hops:into:)`` writes.
    static let lineBytes = 700
}
