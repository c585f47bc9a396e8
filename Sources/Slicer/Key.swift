/// A place in the 64-bit hash space: where an app's name falls.
///
/// Every program of a cluster must agree on this value for ever, so it is a published function and no
/// private one: XXH64 with seed 0 of the name's UTF-8 bytes. `docs/slicer.md` lists test vectors.
package struct Key: Hashable, Comparable, Sendable {
    /// The hash, from 0 to 2^64 - 1.
    package let value: UInt64

    /// Takes a hash that was computed before.
    package init(_ value: UInt64) {
        self.value = value
    }

    /// Hashes a name as it stands.
    ///
    /// Names that look alike but have different bytes (letter case, Unicode composition) have different
    /// keys; whoever accepts names brings them into one form first.
    package init(hashing name: String) {
        value = XXHash64.hash(Array(name.utf8))
    }

    /// Hashes a name's bytes where they are, without an allocation.
    package init(hashing bytes: UnsafeBufferPointer<UInt8>) {
        value = XXHash64.hash(bytes)
    }

    /// Reads the form that `description` writes; nil if the text is anything but 16 hexadecimal digits.
    package init?(hexadecimal text: String) {
        let digits = text.utf8
        guard digits.count == 16, digits.allSatisfy({ UInt8(ascii: "+") != $0 && UInt8(ascii: "-") != $0 }),
            let value = UInt64(text, radix: 16)
        else { return nil }
        self.value = value
    }

    package static func < (left: Key, right: Key) -> Bool {
        left.value < right.value
    }
}

extension Key: CustomStringConvertible {
    /// The hash as 16 lower-case hexadecimal digits, which sort like the keys.
    package var description: String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
