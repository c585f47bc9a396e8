import CProxy
import Glibc

/// Bytes that are read, in place.
typealias Bytes = UnsafePointer<UInt8>
/// Bytes that are written.
typealias MutableBytes = UnsafeMutablePointer<UInt8>

/// Whether a byte belongs to one of the classes in `cproxy.h`.
@inline(__always)
func isClass(_ byte: UInt8, _ classes: Int) -> Bool {
    cproxy_class(byte) & UInt8(truncatingIfNeeded: classes) != 0
}

/// Whether the bytes are this word, whatever their case; `word` is in lower case, and the caller has compared the
/// lengths.
@inline(__always)
func isWord(_ bytes: Bytes, _ word: StaticString) -> Bool {
    let wanted = word.utf8Start
    var index = 0
    while index < word.utf8CodeUnitCount {
        let byte = bytes[index]
        let lower = byte &- 65 < 26 ? byte | 0x20 : byte
        if lower != wanted[index] { return false }
        index &+= 1
    }
    return true
}

/// Whether `count` bytes are this word, whatever their case.
@inline(__always)
func isWord(_ bytes: Bytes, _ count: Int, _ word: StaticString) -> Bool {
    count == word.utf8CodeUnitCount && isWord(bytes, word)
}

/// Whether two runs of bytes are the same but for the case of ASCII letters.
func isSameWord(_ a: Bytes, _ b: Bytes, _ count: Int) -> Bool {
    for index in 0..<count where lowercased(a[index]) != lowercased(b[index]) { return false }
    return true
}

@inline(__always)
func lowercased(_ byte: UInt8) -> UInt8 { byte &- 65 < 26 ? byte | 0x20 : byte }

/// The first byte at or after `start` that is a control character (DEL too, HTAB not), or `end`.
///
/// Looks at eight bytes at a time. A byte below 0x20 or equal to 0x7F leaves the top bit of its lane set; lower
/// lanes are exact, so the lowest such lane is right.
@inline(__always)
func firstControl(_ bytes: Bytes, _ start: Int, _ end: Int) -> Int {
    let ones: UInt64 = 0x0101_0101_0101_0101
    let tops: UInt64 = 0x8080_8080_8080_8080
    var index = start
    while index &+ 8 <= end {
        let word = UInt64(
            littleEndian: UnsafeRawPointer(bytes + index).loadUnaligned(as: UInt64.self)
        )
        let below = (word &- ones &* 0x20) & ~word & tops
        let flipped = word ^ (ones &* 0x7F)
        let deletes = (flipped &- ones) & ~flipped & tops
        let found = below | deletes
        if found != 0 {
            index &+= found.trailingZeroBitCount >> 3
            if bytes[index] != 9 { return index }
            index &+= 1
            continue
        }
        index &+= 8
    }
    while index < end {
        let byte = bytes[index]
        if (byte < 0x20 && byte != 9) || byte == 0x7F { return index }
        index &+= 1
    }
    return end
}

/// The first byte at or after `start` that does not belong to a token (RFC 9110 5.6.2), or `end`.
///
/// Looks at eight bytes at a time as long as they are letters and hyphens, which names mostly are.
@inline(__always)
func tokenEnd(_ bytes: Bytes, _ start: Int, _ end: Int) -> Int {
    let ones: UInt64 = 0x0101_0101_0101_0101
    let tops: UInt64 = 0x8080_8080_8080_8080
    var index = start
    while index &+ 8 <= end {
        let word = UInt64(littleEndian: UnsafeRawPointer(bytes + index).loadUnaligned(as: UInt64.self))
        // Without the top bits no lane can carry into the next.
        let low = (word | ones &* 0x20) & ~tops
        let letters = (low &+ ones &* (0x80 - 0x61)) & ~(low &+ ones &* (0x7F - 0x7A))
        let hyphens = ~((((word ^ ones &* 0x2D) & ~tops) &+ ~tops) | word)
        let others = ~(letters | hyphens) & tops | word & tops
        if others != 0 {
            index &+= others.trailingZeroBitCount >> 3
            break
        }
        index &+= 8
    }
    while index < end && isClass(bytes[index], CPROXY_TOKEN) { index &+= 1 }
    return index
}

/// Calls `body` with the bounds of each element of a comma-separated list, without the white space around it
/// and without empty elements (RFC 9110 5.6.1).
///
/// Stops when it returns false.
@inline(__always)
func forEachElement(_ bytes: Bytes, _ start: Int, _ end: Int, _ body: (Int, Int) -> Bool) {
    var position = start
    while position < end {
        var comma = position
        while comma < end && bytes[comma] != 0x2C { comma &+= 1 }
        var first = position
        var last = comma
        while first < last && (bytes[first] == 32 || bytes[first] == 9) { first &+= 1 }
        while last > first && (bytes[last &- 1] == 32 || bytes[last &- 1] == 9) { last &-= 1 }
        if first < last && !body(first, last) { return }
        position = comma &+ 1
    }
}

/// Writes bytes and moves on.
struct ByteWriter {
    private(set) var position: MutableBytes
    private let start: MutableBytes

    init(_ start: MutableBytes) {
        self.start = start
        position = start
    }

    var count: Int { position - start }

    @inline(__always)
    mutating func put(_ bytes: Bytes, _ count: Int) {
        memcpy(position, bytes, count)
        position += count
    }

    @inline(__always)
    mutating func put(_ text: StaticString) {
        memcpy(position, text.utf8Start, text.utf8CodeUnitCount)
        position += text.utf8CodeUnitCount
    }

    @inline(__always)
    mutating func put(byte: UInt8) {
        position.pointee = byte
        position += 1
    }

    /// Writes a status: three digits, or 0.
    @inline(__always)
    mutating func put(status: Int) {
        guard status >= 100 && status < 1000 else { return put(byte: 0x30) }
        let number = UInt32(truncatingIfNeeded: status)
        position[0] = UInt8(truncatingIfNeeded: number / 100) &+ 0x30
        position[1] = UInt8(truncatingIfNeeded: number / 10 % 10) &+ 0x30
        position[2] = UInt8(truncatingIfNeeded: number % 10) &+ 0x30
        position += 3
    }

    @inline(__always)
    mutating func put(number: Int) {
        if number >= 0 && number < 10 { return put(byte: UInt8(truncatingIfNeeded: number) &+ 0x30) }
        putLong(number: number)
    }

    private mutating func putLong(number: Int) {
        if number < 0 { put(byte: 0x2D) }
        var rest = number.magnitude
        var digits = 1
        var bound: UInt = 10
        while digits < 19 && rest >= bound {
            bound &*= 10
            digits &+= 1
        }
        var index = digits
        while index > 0 {
            index &-= 1
            position[index] = UInt8(truncatingIfNeeded: rest % 10) &+ 0x30
            rest /= 10
        }
        position += digits
    }

    /// Writes the bytes as the inside of a JSON string: quotes, backslashes, control characters and everything
    /// outside ASCII escaped, so that the text is valid whatever the bytes were.
    mutating func put(json bytes: Bytes, _ count: Int) {
        for index in 0..<count {
            let byte = bytes[index]
            if isClass(byte, CPROXY_JSON) {
                put(byte: byte)
            } else if byte == 0x22 || byte == 0x5C {
                put(byte: 0x5C)
                put(byte: byte)
            } else {
                put("\\u00")
                put(hex: byte)
            }
        }
    }

    private mutating func put(hex byte: UInt8) {
        put(byte: hexDigit(byte >> 4))
        put(byte: hexDigit(byte & 15))
    }

    /// Writes 16 hexadecimal digits, eight at a time.
    @inline(__always)
    mutating func put(hex value: UInt64) {
        put(hexOf: UInt32(truncatingIfNeeded: value >> 32))
        put(hexOf: UInt32(truncatingIfNeeded: value))
    }

    @inline(__always)
    private mutating func put(hexOf value: UInt32) {
        // Each of the eight half bytes goes to a byte of its own, the first one lowest.
        var digits = UInt64(value.byteSwapped)
        digits = (digits | digits << 16) & 0x0000_FFFF_0000_FFFF
        digits = (digits | digits << 8) & 0x00FF_00FF_00FF_00FF
        digits = (digits >> 4 & 0x000F_000F_000F_000F) | (digits & 0x000F_000F_000F_000F) << 8
        let letters = (digits &+ 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
        let text = digits &+ 0x3030_3030_3030_3030 &+ letters &* 0x27
        UnsafeMutableRawPointer(position).storeBytes(of: text.littleEndian, as: UInt64.self)
        position += 8
    }
}

@inline(__always)
func hexDigit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 &+ value : 0x57 &+ value }
