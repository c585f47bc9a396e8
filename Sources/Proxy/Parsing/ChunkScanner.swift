// The chunked transfer coding:
//
//   size ─CR─► sizeLF ─LF─► data ─► dataCR ─CR─► dataLF ─LF─► size
//    │ ;          │ LF, after size 0
//    ▼            ▼
//   extension    trailerStart ─CR─► endLF ─LF─► done
//    │ CR          │ ▲
//    ▼             ▼ │ LF
//   sizeLF       trailerName ─:─► trailerValue ─CR─► trailerLF
//
// From every state: anything else is malformed, and stays so.

import CProxy

/// Follows the chunked transfer coding (RFC 9112 7.1) through any division of its bytes.
///
/// Strict: sizes are hexadecimal digits alone, at most 15; extensions are visible characters, bounded; lines end in
/// CR LF; trailers are bounded and none of them may change framing, routing or who the client is.
struct ChunkScanner: Equatable {
    enum State: UInt8 {
        case size
        case `extension`
        case sizeLF
        case data
        case dataCR
        case dataLF
        case trailerStart
        case trailerName
        case trailerValue
        case trailerLF
        case endLF
        case done
        case malformed
        case forbidden
    }

    /// The most bytes in one chunk's extension, and in all trailers together.
    static let extensionLimit = 256
    static let trailerLimit = 8 * 1024

    private(set) var state = State.size
    /// Bytes of data that are missing in the current chunk, or the size as far as it has been read.
    private var remaining = 0
    private var digits: UInt8 = 0
    private var lineBytes: UInt16 = 0
    private var trailerBytes: UInt16 = 0
    private var name = FieldName()

    var isDone: Bool { state == .done }
    /// The data has ended; trailers follow, or the end.
    var isInTrailers: Bool {
        switch state {
        case .trailerStart, .trailerName, .trailerValue, .trailerLF, .endLF: true
        default: false
        }
    }
    var isRefused: Bool { state.rawValue >= State.malformed.rawValue }
    var refusal: Refusal? {
        switch state {
        case .malformed: .malformedChunk
        case .forbidden: .forbiddenTrailer
        default: nil
        }
    }

    /// How many of the bytes belong to this body.
    ///
    /// Less than `count` only at its end or where it is refused.
    mutating func take(_ bytes: Bytes, _ count: Int) -> Int {
        var index = 0
        while index < count && state.rawValue < State.done.rawValue {
            _ = nextData(bytes, count, &index)
        }
        return index
    }

    /// As `decode`, but only as far as the data goes: the trailers are left.
    mutating func decodeData(
        _ bytes: Bytes,
        _ count: Int,
        into output: MutableBytes,
        _ produced: inout Int
    ) -> Int {
        var index = 0
        while index < count && state.rawValue < State.done.rawValue && !isInTrailers {
            let length = nextData(bytes, count, &index)
            (output + produced).update(from: bytes + (index - length), count: length)
            produced += length
        }
        return index
    }

    /// As `take`, and copies the data without the coding to `output`, which has room for `count` bytes.
    mutating func decode(
        _ bytes: Bytes,
        _ count: Int,
        into output: MutableBytes,
        _ produced: inout Int
    ) -> Int {
        var index = 0
        while index < count && state.rawValue < State.done.rawValue {
            let length = nextData(bytes, count, &index)
            (output + produced).update(from: bytes + (index - length), count: length)
            produced += length
        }
        return index
    }

    /// Moves one step; returns how many bytes of data end at `index`.
    @inline(__always)
    private mutating func nextData(_ bytes: Bytes, _ count: Int, _ index: inout Int) -> Int {
        if state == .data {
            let length = min(remaining, count &- index)
            index &+= length
            remaining &-= length
            if remaining == 0 { state = .dataCR }
            return length
        }
        let byte = bytes[index]
        index &+= 1
        switch state {
        case .size: takeSize(byte)
        case .extension: takeExtension(byte)
        case .sizeLF:
            guard byte == 10 else { refuse(); break }
            state = remaining == 0 ? .trailerStart : .data
        case .dataCR: if byte == 13 { state = .dataLF } else { refuse() }
        case .dataLF:
            guard byte == 10 else { refuse(); break }
            state = .size
            digits = 0
            lineBytes = 0
        case .endLF: if byte == 10 { state = .done } else { refuse() }
        default: takeTrailer(byte)
        }
        return 0
    }

    @inline(__always)
    private mutating func takeSize(_ byte: UInt8) {
        if isClass(byte, CPROXY_HEX) {
            let value = byte <= 0x39 ? byte &- 0x30 : (byte | 0x20) &- 0x57
            remaining = (digits == 0 ? 0 : remaining) << 4 | Int(value)
            digits &+= 1
            if digits > 15 { refuse() }
        } else if digits == 0 {
            refuse()
        } else if byte == 13 {
            state = .sizeLF
        } else if byte == 0x3B {
            state = .extension
        } else {
            refuse()
        }
    }

    private mutating func takeExtension(_ byte: UInt8) {
        lineBytes += 1
        if byte == 13 {
            state = .sizeLF
        } else if (byte < 0x20 && byte != 9) || byte >= 0x7F || lineBytes > Self.extensionLimit {
            refuse()
        }
    }

    private mutating func takeTrailer(_ byte: UInt8) {
        trailerBytes += 1
        guard trailerBytes <= Self.trailerLimit else { return refuse() }
        switch state {
        case .trailerStart where byte == 13: state = .endLF
        case .trailerStart, .trailerName:
            if state == .trailerStart { name = FieldName() }
            state = .trailerName
            if byte == 0x3A && name.count > 0 {
                state = name.isForbiddenInTrailer ? .forbidden : .trailerValue
            } else if isClass(byte, CPROXY_TOKEN) {
                name.append(lowercased(byte))
            } else {
                refuse()
            }
        case .trailerValue:
            if byte == 13 {
                state = .trailerLF
            } else if (byte < 0x20 && byte != 9) || byte == 0x7F {
                refuse()
            }
        case .trailerLF: if byte == 10 { state = .trailerStart } else { refuse() }
        default: refuse()
        }
    }

    private mutating func refuse() { state = .malformed }
}

/// Whether a header may not stand in a trailer; the name is in lower case.
package func isForbiddenInTrailer(_ name: String) -> Bool {
    var packed = FieldName()
    for byte in name.utf8 { packed.append(byte) }
    return packed.isForbiddenInTrailer
}

/// A short header name, packed, to be compared whole without an allocation.
///
/// Longer names only keep their length.
private struct FieldName: Equatable {
    private(set) var count = 0
    private var words: (UInt64, UInt64, UInt64) = (0, 0, 0)

    mutating func append(_ byte: UInt8) {
        let shift = UInt64(count & 7) * 8
        switch count >> 3 {
        case 0: words.0 |= UInt64(byte) << shift
        case 1: words.1 |= UInt64(byte) << shift
        case 2: words.2 |= UInt64(byte) << shift
        default: break
        }
        count += 1
    }

    static func == (a: Self, b: Self) -> Bool { a.count == b.count && a.words == b.words }

    private func isName(_ name: StaticString) -> Bool {
        guard count == name.utf8CodeUnitCount else { return false }
        var other = FieldName()
        for index in 0..<count { other.append(name.utf8Start[index]) }
        return self == other
    }

    /// RFC 9110 6.5.1: nothing that is needed for framing, routing, request modifiers or authentication.
    var isForbiddenInTrailer: Bool {
        isName("transfer-encoding") || isName("content-length") || isName("host") || isName("connection")
            || isName("keep-alive") || isName("proxy-connection") || isName("te") || isName("trailer")
            || isName("upgrade") || isName("expect") || isName("content-encoding") || isName("content-type")
            || isName("content-range") || isName("authorization") || isName("cookie") || isName("set-cookie")
            || isName("forwarded") || isName("x-forwarded-for") || isName("x-forwarded-host")
            || isName("x-forwarded-proto") || isName("x-real-ip") || isName("x-request-id")
    }
}
