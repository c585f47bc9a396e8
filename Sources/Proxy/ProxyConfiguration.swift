/// How a proxy listens, and the limits that it keeps.
///
/// The defaults are safe for the open internet.
public struct ProxyConfiguration: Sendable {
    /// Where clients connect.
    ///
    /// At least one, unless connections are only handed over with
    /// ``ProxyServer/adopt(descriptor:client:port:isSecure:peers:)``.
    public var listeners: [Listener]
    /// Threads, each with its own connections.
    ///
    /// One serves about 50,000 small requests a second.
    public var loops = 1
    public var limits = Limits()
    public var timeouts = Timeouts()
    /// Where the access log goes, if it is kept.
    public var accessLog: AccessLogDestination?
    /// Processors to which the loops' threads are pinned, in turn; none when empty.
    public var processors: [Int] = []

    public init(listeners: [Listener] = []) { self.listeners = listeners }

    /// An address to listen on.
    public struct Listener: Sendable {
        /// A numeric IPv4 or IPv6 address.
        public var address: String
        /// 0 for any free port; ``ProxyServer/addresses`` tells which.
        public var port: UInt16
        /// Every connection must begin with a PROXY protocol v2 header, which says who the client is.
        public var expectsProxyProtocol = false
        /// Clients are proxies of our own: what they say in X-Forwarded-For, -Host, -Proto and Forwarded is
        /// passed on, with their own address added.
        ///
        /// Unsafe where others can connect.
        public var trustsForwardedFields = false
        /// Clients are proxies of this group: a request without its secret is refused with 401, and what a peer says
        /// of the client in X-Forwarded-For, -Host, -Proto and Forwarded is passed on as it is.
        public var peers: PeerGroup?

        public init(address: String = "127.0.0.1", port: UInt16 = 0) {
            self.address = address
            self.port = port
        }
    }

    public struct Limits: Sendable {
        /// Open client connections, over all loops; more are answered with 503 and closed.
        public var connections = 20_000
        /// The head of a request.
        public var headBytes = 32 * 1024
        /// The head of an answer; at most 128 KB.
        public var answerHeadBytes = 64 * 1024
        /// Answers of 1xx before the final one.
        public var interimAnswers = 32
        public var targetBytes = 8 * 1024
        public var fieldCount = 100
        /// The body of a request; nil for no limit.
        public var bodyBytes: Int?
        /// Bytes of requests that are held, over all loops.
        public var heldBytes = 64 * 1024 * 1024
        /// Requests on one connection, after which it is closed.
        public var requestsPerConnection = 1_000_000
        /// Kept-alive connections to one upstream, for each loop.
        public var idleUpstreamConnections = 64
        /// A body that is dropped, because it is not wanted any more, to keep the connection.
        public var discardedBodyBytes = 256 * 1024
        /// How often one request is sent to another upstream, or the same again, because one failed it.
        public var retries = 3

        public init() {}
    }

    public struct Timeouts: Sendable {
        /// From the first byte of a head to its end, and from a connection's beginning to the first byte.
        public var head = Duration.seconds(15)
        /// A kept-alive connection without a request.
        public var idle = Duration.seconds(75)
        /// A body that is expected and does not move.
        public var body = Duration.seconds(30)
        /// The least average speed of a body, while nothing but the client holds it up.
        public var bodyBytesPerSecond = 240
        public var connect = Duration.seconds(5)
        /// For how long an upstream's end of a TCP connection may acknowledge nothing; at least a second.
        ///
        /// Neither bytes, nor the probes of a connection on which nothing is sent: the link is cut, or the machine gone. One
        /// that acknowledges and takes no bytes is only slow: other limits are for that.
        public var upstreamSilence = Duration.seconds(10)
        /// The same for clients.
        public var clientSilence = Duration.seconds(60)
        /// From the end of a request to the beginning of its answer.
        ///
        /// An upstream may have its own.
        public var answer = Duration.seconds(60)
        /// An answer that has begun and does not move.
        public var answerIdle = Duration.seconds(600)
        /// A client that does not take the bytes of an answer.
        public var send = Duration.seconds(60)
        /// A tunnel without a byte in either direction.
        public var tunnelIdle = Duration.seconds(3600)
        /// A kept-alive connection to an upstream.
        public var upstreamIdle = Duration.seconds(55)
        /// How long an answer is still delivered to a client that has ended its side of the connection.
        public var halfClosed = Duration.seconds(10)

        public init() {}
    }
}

/// Where the access log goes: JSON lines.
public enum AccessLogDestination: Sendable {
    /// A file, appended to.
    case file(path: String)
    /// A descriptor, which stays open.
    case descriptor(Int32)
}

/// Why the proxy could not be started, or a call not be done.
public struct ProxyError: Error, CustomStringConvertible {
    public enum Code: Sendable {
        case invalidConfiguration
        case addressInUse
        case notPermitted
        case system
    }

    public let code: Code
    public let message: String
    /// The kernel's error number, if there was one.
    public let errorNumber: Int32?

    public var description: String { message }
}
