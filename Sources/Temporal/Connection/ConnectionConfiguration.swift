public import Foundation

extension TemporalConnection {
    /// Where the server is and how to speak to it.
    ///
    /// Descriptions of a configuration leave its secrets out.
    public struct Configuration: Sendable, CustomStringConvertible, CustomReflectable {
        /// The host name or address of the frontend.
        public var host: String
        /// The frontend's gRPC port; 7233 unless the server was told otherwise.
        public var port: Int
        public var namespace: String
        /// The name by which events in histories call this process.
        public var identity: String
        /// TLS, or nil for plain TCP.
        ///
        /// With an API key and no value here, TLS is on with the system's authorities.
        public var tls: TLS?
        /// Sent as a bearer token with each call.
        ///
        /// ``TemporalConnection/setAPIKey(_:)`` replaces it later.
        public var apiKey: String?
        /// Sends an API key over a connection that others can read.
        ///
        /// For tests on the same machine only.
        public var allowsAPIKeyWithoutTLS = false
        /// How long one attempt to connect may take.
        public var connectTimeout: Duration = .seconds(5)
        /// How long one attempt of a call may take, when its own timeout allows more than one.
        public var attemptTimeout: Duration = .seconds(10)
        /// The waits between the attempts of a call.
        public var backoff = Backoff()
        /// The server is asked for a sign of life when nothing has come from it for this long.
        public var keepAliveInterval: Duration = .seconds(15)
        /// The connection is given up when the sign of life does not come within this time.
        public var keepAliveTimeout: Duration = .seconds(5)
        /// How many connections are made when calls need more streams than the server, or NIO, allows on one: 100
        /// where the server does not say.
        public var maximumConnections = 100
        /// Calls beyond this many in flight are refused with `resourceExhausted`.
        public var maximumCallsInFlight = 10_000
        /// Answers longer than this are refused, in bytes.
        public var maximumMessageBytes = 64 << 20

        public init(
            host: String = "127.0.0.1",
            port: Int = 7233,
            namespace: String = "default",
            identity: String? = nil,
            tls: TLS? = nil,
            apiKey: String? = nil
        ) {
            self.host = host
            self.port = port
            self.namespace = namespace
            self.identity =
                identity ?? "\(ProcessInfo.processInfo.processIdentifier)@\(ProcessInfo.processInfo.hostName)"
            self.tls = tls
            self.apiKey = apiKey
        }

        public var description: String {
            "\(host):\(port), namespace \(namespace), \(effectiveTLS == nil ? "plain" : "TLS")"
                + (apiKey == nil ? "" : ", with an API key")
        }

        public var customMirror: Mirror { Mirror(self, children: ["configuration": description]) }

        var effectiveTLS: TLS? { tls ?? (apiKey != nil && !allowsAPIKeyWithoutTLS ? TLS() : nil) }
    }

    /// Certificates and keys, in PEM.
    public struct TLS: Sendable, CustomStringConvertible, CustomReflectable {
        /// The authorities to trust; nil for the system's.
        public var trustRoots: Data?
        /// This client's certificate, followed by those between it and its authority (mTLS).
        public var certificate: Data?
        /// The private key of ``certificate``.
        public var privateKey: Data?
        /// The name that the server's certificate must carry, when it isn't the host's.
        public var serverName: String?

        public init(
            trustRoots: Data? = nil,
            certificate: Data? = nil,
            privateKey: Data? = nil,
            serverName: String? = nil
        ) {
            self.trustRoots = trustRoots
            self.certificate = certificate
            self.privateKey = privateKey
            self.serverName = serverName
        }

        public var description: String {
            "TLS(\(certificate == nil ? "no client certificate" : "with a client certificate"))"
        }

        public var customMirror: Mirror { Mirror(self, children: ["tls": description]) }
    }

    /// Exponential waits with jitter.
    public struct Backoff: Sendable {
        /// The wait after the first failure.
        public var initial: Duration = .milliseconds(100)
        /// The wait after a first failure that says that the server is overloaded (`resourceExhausted`).
        public var initialWhenOverloaded: Duration = .seconds(1)
        public var multiplier = 1.7
        public var maximum: Duration = .seconds(5)
        /// Waits are up to this share longer or shorter, so that callers don't come back all at once.
        public var jitter = 0.2

        public init() {}

        /// The wait after `failures` failed attempts; `random` is in 0..<1.
        package func delay(failures: Int, overloaded: Bool, random: Double) -> Duration {
            var delay = overloaded ? initialWhenOverloaded : initial
            for _ in 1..<max(failures, 1) where delay < maximum { delay = delay * multiplier }
            return min(delay, maximum) * (1 + jitter * (2 * random - 1))
        }
    }
}

/// Whether a call that failed on the way is made again.
package enum CallRetry: Sendable {
    /// One attempt.
    case none
    /// Attempts until the call's timeout, as long as the status is a retryable one.
    case standard
    /// As ``standard``, but one attempt may last as long as the whole call: for calls that wait for something.
    case longPoll
}
