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
///
/// The bytes must have been seen to have no control character.
@inline(__always)
func isWord(_ bytes: Bytes, _ word: StaticString) -> Bool {
    cproxy_is_word(bytes, word.utf8Start, word.utf8CodeUnitCount) != 0
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
@inline(__always)
func firstControl(_ bytes: Bytes, _ start: Int, _ end: Int) -> Int { cproxy_first_control(bytes, start, end) }

/// The first byte at or after `start` that does not belong to a token (RFC 9110 5.6.2), or `end`.
@inline(__always)
func tokenEnd(_ bytes: Bytes, _ start: Int, _ end: Int) -> Int { cproxy_token_end(bytes, start, end) }

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
        cproxy_copy(position, bytes, count)
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
        guard number >= 0 && number < 1000 else { return putLong(number: number) }
        let small = UInt32(truncatingIfNeeded: number)
        let tens = small / 10
        let hundreds = small / 100
        if hundreds > 0 { put(byte: UInt8(truncatingIfNeeded: hundreds) &+ 0x30) }
        if tens > 0 { put(byte: UInt8(truncatingIfNeeded: tens &- hundreds &* 10) &+ 0x30) }
        put(byte: UInt8(truncatingIfNeeded: small &- tens &* 10) &+ 0x30)
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
