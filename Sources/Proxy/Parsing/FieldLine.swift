import CProxy

/// What a header line is to the proxy.
///
/// Lines that only the ends care about are `.other`.
enum FieldKind: UInt8 {
    case other
    case host
    case connection
    case keepAlive
    case proxyConnection
    case transferEncoding
    case contentLength
    case te
    case upgrade
    case http2Settings
    case expect
    case forwarded
    case forwardedFor
    case forwardedHost
    case forwardedProto
    /// Other names by which programs believe to know the client: X-Real-IP, X-Forwarded-Port, …
    case forwardedOther
    case requestID
    /// Headers of a ``PeerGroup``.
    case peerAuthorization
    case peerHops
    case peerGeneration
}

/// One header line of a head, by the positions of its parts in the bytes of the head.
struct FieldLine {
    var start: Int32
    var nameEnd: Int32
    var valueStart: Int32
    var valueEnd: Int32
    var kind: FieldKind
    /// Whether the line is left out of what is sent on.
    var isDropped: Bool
}

/// The room for the header lines of one head, used again for each.
final class FieldTable {
    let lines: UnsafeMutablePointer<FieldLine>
    let capacity: Int

    init(capacity: Int) {
        self.capacity = capacity
        lines = .allocate(capacity: max(capacity, 1))
    }

    deinit { lines.deallocate() }
}

/// What stands at a position of a head.
enum FieldScan {
    case line
    case end
    case incomplete
    case refused(Refusal)
}

/// Reads one header line at `position` and moves past it.
///
/// Strict: names are tokens (RFC 9110 5.6.2) directly before the colon, lines end in CR LF, values have no control
/// character but HTAB, and a line that begins with white space is refused.
@inline(__always)
func scanField(_ bytes: Bytes, _ count: Int, _ position: inout Int, _ line: inout FieldLine) -> FieldScan {
    guard position < count else { return .incomplete }
    let first = bytes[position]
    if first == 13 {
        guard position &+ 1 < count else { return .incomplete }
        guard bytes[position &+ 1] == 10 else { return .refused(.controlCharacter) }
        position &+= 2
        return .end
    }
    let colon = tokenEnd(bytes, position, count)
    guard colon < count else { return .incomplete }
    if bytes[colon] != 0x3A || colon == position {
        return .refused(refusal(of: bytes[colon], isFirst: colon == position))
    }
    var valueStart = colon &+ 1
    while valueStart < count && (bytes[valueStart] == 32 || bytes[valueStart] == 9) { valueStart &+= 1 }
    let control = firstControl(bytes, valueStart, count)
    guard control < count else { return .incomplete }
    guard bytes[control] == 13 else {
        return .refused(bytes[control] == 10 ? .bareLineFeed : .controlCharacter)
    }
    guard control &+ 1 < count else { return .incomplete }
    guard bytes[control &+ 1] == 10 else { return .refused(.controlCharacter) }
    var valueEnd = control
    while valueEnd > valueStart && (bytes[valueEnd &- 1] == 32 || bytes[valueEnd &- 1] == 9) {
        valueEnd &-= 1
    }
    line.start = Int32(truncatingIfNeeded: position)
    line.nameEnd = Int32(truncatingIfNeeded: colon)
    line.valueStart = Int32(truncatingIfNeeded: valueStart)
    line.valueEnd = Int32(truncatingIfNeeded: valueEnd)
    line.kind = .other
    line.isDropped = false
    position = control &+ 2
    return .line
}

private func refusal(of byte: UInt8, isFirst: Bool) -> Refusal {
    switch byte {
    case 10: .bareLineFeed
    case 32, 9: isFirst ? .foldedField : .malformedFieldName
    default: .malformedFieldName
    }
}

/// The value of a Content-Length line: decimal digits alone, at most 18, so that it fits; nil for anything else.
func parseLength(_ bytes: Bytes, _ start: Int, _ end: Int) -> Int? {
    guard end > start, end - start <= 18 else { return nil }
    var value = 0
    for index in start..<end {
        let digit = bytes[index] &- 0x30
        guard digit < 10 else { return nil }
        value = value &* 10 &+ Int(digit)
    }
    return value
}
