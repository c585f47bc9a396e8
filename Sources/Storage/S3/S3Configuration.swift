package import FoundationEssentials

/// Where an S3 bucket is and how to speak to it.
package struct S3Configuration: Sendable {
    /// How a bucket is named in a request.
    package enum Style: String, Sendable {
        /// `https://endpoint/bucket/key`
        case path
        /// `https://bucket.endpoint/key`
        case virtualHost
    }

    package var bucket: String
    /// What every key starts with inside the bucket; empty, or components with a slash at the end.
    package var prefix: String
    /// `http` or `https`.
    package var scheme: String
    /// Host, and port where it is not the scheme's own.
    package var authority: String
    package var region: String
    package var style: Style
    package var credentials: S3Credentials
    package var retry = RetryPolicy()
    /// Bodies larger than this are sent in parts of this size; S3 takes parts from 5 MiB on.
    package var partBytes = 8 << 20
    /// How many parts of one object are sent at the same time.
    package var partsInFlight = 4
    /// How long one request may take until its answer begins.
    package var requestTimeout: Duration = .seconds(30)
    /// The clock that requests are dated by.
    package var now: @Sendable () -> Date = { Date() }

    /// `endpoint`: `http://host:port` or `https://host`; nil means Amazon's own for the region.
    /// - Throws: `StorageError` with the code `invalid`.
    package init(
        bucket: String,
        prefix: String = "",
        endpoint: String?,
        region: String,
        style: Style?,
        credentials: S3Credentials
    ) throws {
        let endpoint = endpoint ?? "https://s3.\(region).amazonaws.com"
        let parts = endpoint.split(separator: "://", maxSplits: 1)
        guard parts.count == 2, ["http", "https"].contains(parts[0]) else {
            throw StorageError(.invalid, "S3 endpoint \(endpoint): it must start with http:// or https://")
        }
        let authority = parts[1].hasSuffix("/") ? String(parts[1].dropLast()) : String(parts[1])
        guard !authority.isEmpty, !authority.contains(where: { "/?#@ ".contains($0) }) else {
            throw StorageError(.invalid, "S3 endpoint \(endpoint): give a host, or a host and a port")
        }
        let allowed = bucket.utf8.allSatisfy { Self.isBucketByte($0) }
        guard (3...63).contains(bucket.utf8.count), allowed else {
            throw StorageError(.invalid, "S3 bucket \(bucket.debugDescription): 3 to 63 of a-z, 0-9, . and -")
        }
        let trimmed = prefix.split(separator: "/").joined(separator: "/")
        if !trimmed.isEmpty { _ = try ObjectKey(trimmed) }
        self.bucket = bucket
        self.prefix = trimmed.isEmpty ? "" : trimmed + "/"
        self.scheme = String(parts[0])
        self.authority = authority
        self.region = region
        self.style =
            style ?? (authority.hasSuffix(".amazonaws.com") && !bucket.contains(".") ? .virtualHost : .path)
        self.credentials = credentials
    }

    var host: String { style == .path ? authority : "\(bucket).\(authority)" }

    private static func isBucketByte(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
            || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "-")
    }
}

/// How often and how long to try again: waits double from `base` up to `longest`, each with a random share taken off.
package struct RetryPolicy: Sendable {
    /// The first try counts.
    package var attempts = 6
    package var base: Duration = .milliseconds(50)
    package var longest: Duration = .seconds(5)

    package init() {}

    /// The wait before the try after `failures` failed ones.
    ///
    /// `fraction`: a random number from 0 to 1.
    package func wait(afterFailures failures: Int, fraction: Double) -> Duration {
        let doubled = base * (1 << min(max(0, failures - 1), 20))
        return min(doubled, longest) * (0.5 + fraction / 2)
    }
}
