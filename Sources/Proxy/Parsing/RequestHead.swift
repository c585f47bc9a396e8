import CProxy
import Glibc

/// The head of a request as positions in its bytes.
///
/// Nothing is copied.
struct RequestHead {
    /// Bytes of the head with its empty line, and with empty lines before it.
    var length = 0
    var start = 0
    var methodEnd = 0
    var targetStart = 0
    var targetEnd = 0
    /// The path and query; empty where a full address has no path, which means "/".
    var pathStart = 0
    var pathEnd = 0
    /// The host with its port as it was sent, and the part that names.
    var hostStart = 0
    var hostEnd = 0
    var hostNameEnd = 0
    var minorVersion: UInt8 = 1
    var contentLength = -1
    var isChunked = false
    var closes = false
    var keepsAlive = false
    /// Connection names `upgrade`.
    var nominatesUpgrade = false
    var upgradeLine = -1
    var requestIDLine = -1
    var fieldCount = 0
    /// How many Host lines there were, and how many headers Connection names beside the usual ones.
    var hostCount = 0
    var nominationCount = 0

    var isHead: Bool { method == .head }
    var method = Method.other
    var hasBody: Bool { isChunked || contentLength > 0 }
    var asksForUpgrade: Bool { upgradeLine >= 0 }

    /// The methods that the proxy treats differently.
    enum Method: UInt8 {
        case get
        case head
        case options
        case put
        case delete
        case post
        case trace
        case other

        /// Whether a request may be sent a second time (RFC 9110 9.2.2).
        var isIdempotent: Bool {
            switch self {
            case .get, .head, .options, .put, .delete, .trace: true
            case .post, .other: false
            }
        }
    }
}

/// The result of looking for a head.
enum HeadScan: Equatable {
    case complete
    case incomplete
    case refused(Refusal)
}

/// The limits of a head.
struct HeadLimits {
    var headBytes = 32 * 1024
    var targetBytes = 8 * 1024
    var fieldCount = 100
}

extension RequestHead {
    /// Reads a head at the beginning of the bytes.
    ///
    /// Refuses all that two readers could understand differently (RFC 9112 2.2, 5, 6.3, 11.2; RFC 9110 5.5).
    mutating func scan(_ bytes: Bytes, _ count: Int, table: FieldTable, limits: HeadLimits) -> HeadScan {
        self = RequestHead()
        let end = min(count, limits.headBytes)
        let result = scanLines(bytes, end, table, limits)
        if result == .incomplete && count >= limits.headBytes {
            return .refused(targetEnd == 0 ? .targetTooLong : .headTooLarge)
        }
        return result
    }

    private mutating func scanLines(
        _ bytes: Bytes,
        _ count: Int,
        _ table: FieldTable,
        _ limits: HeadLimits
    ) -> HeadScan {
        var position = 0
        // RFC 9112 2.2: a server should ignore at least one empty line before the request line.
        while position < 4 && position &+ 1 < count && bytes[position] == 13 && bytes[position &+ 1] == 10 {
            position &+= 2
        }
        start = position
        let startLine = scanStartLine(bytes, count, &position, limits)
        guard startLine == .complete else { return startLine }
        let maximum = min(limits.fieldCount, table.capacity)
        while true {
            guard fieldCount < maximum || (position < count && bytes[position] == 13) else {
                return position < count ? .refused(.tooManyFields) : .incomplete
            }
            let line = table.lines + min(fieldCount, table.capacity - 1)
            switch scanField(bytes, count, &position, &line.pointee) {
            case .line:
                if let refusal = classify(bytes, line) { return .refused(refusal) }
                fieldCount &+= 1
            case .end:
                length = position
                return finish(bytes, table)
            case .incomplete: return .incomplete
            case .refused(let refusal): return .refused(refusal)
            }
        }
    }

    private mutating func scanStartLine(
        _ bytes: Bytes,
        _ count: Int,
        _ position: inout Int,
        _ limits: HeadLimits
    ) -> HeadScan {
        var index = position
        while index < count && isClass(bytes[index], CPROXY_TOKEN) { index &+= 1 }
        guard index &- position <= 32 else { return .refused(.malformedMethod) }
        guard index < count else { return .incomplete }
        guard bytes[index] == 32, index > position else {
            return .refused(bytes[index] == 10 ? .bareLineFeed : .malformedMethod)
        }
        methodEnd = index
        index &+= 1
        let first = index
        while index < count && isClass(bytes[index], CPROXY_TARGET) { index &+= 1 }
        guard index &- first <= limits.targetBytes else { return .refused(.targetTooLong) }
        guard index < count else { return .incomplete }
        guard bytes[index] == 32, index > first else {
            return .refused(bytes[index] == 10 ? .bareLineFeed : .malformedTarget)
        }
        targetStart = first
        targetEnd = index
        guard index &+ 11 <= count else {
            return scanPartialVersion(bytes, index &+ 1, count)
        }
        let version = bytes + (index &+ 1)
        guard version[0] == 0x48, version[1] == 0x54, version[2] == 0x54, version[3] == 0x50,
            version[4] == 0x2F,
            version[5] &- 0x30 < 10, version[6] == 0x2E, version[7] &- 0x30 < 10
        else { return .refused(.malformedStartLine) }
        guard version[8] == 13, version[9] == 10 else {
            return .refused(version[8] == 10 ? .bareLineFeed : .malformedStartLine)
        }
        guard version[5] == 0x31, version[7] <= 0x31 else { return .refused(.unsupportedVersion) }
        minorVersion = version[7] &- 0x30
        closes = minorVersion == 0
        position = index &+ 11
        return scanMethodAndTarget(bytes)
    }

    private func scanPartialVersion(_ bytes: Bytes, _ start: Int, _ count: Int) -> HeadScan {
        for index in start..<max(start, count) where bytes[index] == 10 {
            return .refused(.malformedStartLine)
        }
        return .incomplete
    }

    private mutating func scanMethodAndTarget(_ bytes: Bytes) -> HeadScan {
        let name = bytes + start
        switch methodEnd &- start {
        case 3:
            if memcmp(name, "GET", 3) == 0 {
                method = .get
            } else if memcmp(name, "PUT", 3) == 0 {
                method = .put
            }
        case 4:
            if memcmp(name, "POST", 4) == 0 {
                method = .post
            } else if memcmp(name, "HEAD", 4) == 0 {
                method = .head
            }
        case 5: if memcmp(name, "TRACE", 5) == 0 { method = .trace }
        case 6: if memcmp(name, "DELETE", 6) == 0 { method = .delete }
        case 7:
            if memcmp(name, "OPTIONS", 7) == 0 { method = .options }
            if memcmp(name, "CONNECT", 7) == 0 { return .refused(.connectNotSupported) }
        default: break
        }
        pathStart = targetStart
        pathEnd = targetEnd
        let first = bytes[targetStart]
        if first == 0x2F { return .complete }
        if first == 0x2A {
            return targetEnd &- targetStart == 1 && method == .options
                ? .complete : .refused(.malformedTarget)
        }
        return scanAbsoluteTarget(bytes)
    }

    /// `http://name:port/path`: the address in full.
    ///
    /// It names the host, and only the path is sent on.
    private mutating func scanAbsoluteTarget(_ bytes: Bytes) -> HeadScan {
        let target = bytes + targetStart
        let count = targetEnd &- targetStart
        let scheme: Int
        if count > 7 && isWord(target, "http://") {
            scheme = 7
        } else if count > 8 && isWord(target, "https://") {
            scheme = 8
        } else {
            return .refused(.malformedTarget)
        }
        var end = scheme
        while end < count && target[end] != 0x2F && target[end] != 0x3F { end &+= 1 }
        // A query directly after the host would have to become a path: refused rather than rewritten.
        guard end == count || target[end] == 0x2F else { return .refused(.malformedTarget) }
        hostStart = targetStart &+ scheme
        hostEnd = targetStart &+ end
        guard let nameEnd = scanHost(bytes, hostStart, hostEnd) else { return .refused(.malformedTarget) }
        hostNameEnd = nameEnd
        pathStart = targetStart &+ end
        return .complete
    }

    private mutating func finish(_ bytes: Bytes, _ table: FieldTable) -> HeadScan {
        guard hostEnd > 0 && hostCount == 1 else { return .refused(.missingHost) }
        guard !isChunked || contentLength < 0 else { return .refused(.lengthAndTransferEncoding) }
        guard !isChunked || minorVersion == 1 else { return .refused(.malformedTransferEncoding) }
        if nominationCount > 0, let refusal = dropNominated(bytes, table) { return .refused(refusal) }
        settleUpgrade(bytes, table)
        return .complete
    }
}
