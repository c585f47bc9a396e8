/// The proxy's numbers at one moment.
///
/// Taking them costs the loops nothing.
public struct ProxyMetrics: Sendable {
    public var apps: [AppMetrics] = []
    public var openConnections = 0
    public var heldBytes = 0
    public var acceptedConnections: UInt64 = 0
    /// Connections that were closed unheard: over the limit, or without their PROXY header.
    public var refusedConnections: UInt64 = 0
    /// Requests that were malformed, too large or too slow.
    public var refusedRequests: UInt64 = 0
    /// Requests for names that no app has.
    public var unknownNames: UInt64 = 0
    public var accessLogLines: UInt64 = 0
    /// Lines that the access log lost because it could not be written fast enough.
    public var accessLogDropped: UInt64 = 0
}

/// One app's numbers, over all loops, since the proxy began.
public struct AppMetrics: Sendable {
    public var name: String
    /// Requests by the class of their status, 1xx (tunnels, which ended) to 5xx, and those without one.
    public var informational: UInt64 = 0
    public var success: UInt64 = 0
    public var redirection: UInt64 = 0
    public var clientError: UInt64 = 0
    public var serverError: UInt64 = 0
    public var noStatus: UInt64 = 0
    /// Bytes of bodies and tunnels: from clients, and to them.
    public var bytesIn: UInt64 = 0
    public var bytesOut: UInt64 = 0
    /// Requests that were sent again after a kept-alive connection had been closed.
    public var retried: UInt64 = 0
    /// Times that a request was held.
    public var held: UInt64 = 0
    /// Tunnels that were opened.
    public var upgraded: UInt64 = 0
    public var upstreamConnections: Int = 0
    public var upstreamFailures: [UpstreamFailure: UInt64] = [:]
    /// What goes on at this moment.
    public var activity: App.Activity
    public var latency = LatencyHistogram()
    public var totalMicroseconds: UInt64 = 0

    public var requests: UInt64 {
        informational + success + redirection + clientError + serverError + noStatus
    }

    init(_ app: App, _ cells: [AppCell]) {
        name = app.name
        activity = app.activity
        func sum(_ counter: AppCell.Counter) -> UInt64 { cells.reduce(0) { $0 + $1.read(counter.rawValue) } }
        informational = sum(.informational)
        success = sum(.success)
        redirection = sum(.redirection)
        clientError = sum(.clientError)
        serverError = sum(.serverError)
        noStatus = sum(.noStatus)
        bytesIn = sum(.bytesIn)
        bytesOut = sum(.bytesOut)
        retried = sum(.retried)
        held = sum(.held)
        upgraded = sum(.upgraded)
        totalMicroseconds = sum(.durationMicroseconds)
        let closed = sum(.upstreamConnectionsClosed)
        upstreamConnections = Int(sum(.upstreamConnectionsOpened)) - Int(closed)
        for failure in UpstreamFailure.allCases {
            let count = cells.reduce(0) { $0 + $1.read(AppCell.failureStart + Int(failure.rawValue)) }
            if count > 0 { upstreamFailures[failure] = count }
        }
        for bucket in 0..<LatencyHistogram.bucketCount {
            latency.counts[bucket] = cells.reduce(0) { $0 + $1.read(AppCell.histogramStart + bucket) }
        }
    }
}
