import CProxy

/// One loop's counters of one app.
///
/// The loop alone writes; other threads read at any time.
final class AppCell: @unchecked Sendable {
    // Sendable because every access is an atomic one of the C shim, and the memory is never replaced.

    enum Counter: Int, CaseIterable {
        case informational
        case success
        case redirection
        case clientError
        case serverError
        case noStatus
        case bytesIn
        case bytesOut
        case retried
        case held
        case upgraded
        case durationMicroseconds
        case upstreamConnectionsOpened
        case upstreamConnectionsClosed
    }

    static let failureStart = Counter.allCases.count
    static let histogramStart = failureStart + UpstreamFailure.allCases.count
    static let count = histogramStart + LatencyHistogram.bucketCount

    let app: App
    private let counters: UnsafeMutablePointer<UInt64>

    init(app: App) {
        self.app = app
        counters = .allocate(capacity: Self.count)
        counters.initialize(repeating: 0, count: Self.count)
    }

    deinit { counters.deallocate() }

    @inline(__always)
    func add(_ counter: Counter, _ amount: Int = 1) {
        cproxy_count(counters + counter.rawValue, UInt64(truncatingIfNeeded: amount))
    }

    func add(_ failure: UpstreamFailure) {
        cproxy_count(counters + Self.failureStart + Int(failure.rawValue), 1)
    }

    @inline(__always)
    func add(status: Int, nanoseconds: UInt64) {
        let group = status / 100
        cproxy_count(counters + (group >= 1 && group <= 5 ? group - 1 : 5), 1)
        let microseconds = nanoseconds / 1000
        cproxy_count(counters + Counter.durationMicroseconds.rawValue, microseconds)
        cproxy_count(counters + Self.histogramStart + LatencyHistogram.bucket(of: microseconds), 1)
    }

    func read(_ index: Int) -> UInt64 { cproxy_read_count(counters + index) }
}

/// Counts of durations in buckets of which four make a doubling, from 1 microsecond to over an hour.
public struct LatencyHistogram: Sendable, Equatable {
    static let bucketCount = 128

    /// Counts, bucket by bucket; see ``upperBound(of:)``.
    public internal(set) var counts = [UInt64](repeating: 0, count: bucketCount)

    @inline(__always)
    static func bucket(of microseconds: UInt64) -> Int {
        guard microseconds >= 4 else { return Int(microseconds) }
        let exponent = 63 - microseconds.leadingZeroBitCount
        let quarter = Int(truncatingIfNeeded: microseconds >> UInt64(exponent - 2)) & 3
        return min((exponent - 1) * 4 + quarter, bucketCount - 1)
    }

    /// The longest duration in microseconds that a bucket counts.
    public static func upperBound(of bucket: Int) -> UInt64 {
        guard bucket >= 4 else { return UInt64(bucket) }
        let exponent = bucket / 4 + 1
        let step = UInt64(1) << UInt64(exponent - 2)
        return (UInt64(4 + bucket % 4) * step) + step - 1
    }

    public var total: UInt64 { counts.reduce(0, +) }

    /// An upper bound in microseconds of the given share (0…1) of the durations; at most a quarter too high.
    public func quantile(_ share: Double) -> UInt64 {
        let wanted = max(1, UInt64((Double(total) * share).rounded(.up)))
        var seen: UInt64 = 0
        for (bucket, count) in counts.enumerated() {
            seen += count
            if seen >= wanted { return Self.upperBound(of: bucket) }
        }
        return 0
    }
}
