/// A range of the hash space, both ends included, so that the whole space can be written down.
package struct Slice: Hashable, Sendable {
    /// All keys.
    package static let whole = Slice(uncheckedFirst: 0, last: .max)

    /// The lowest key in the slice.
    package let first: Key
    /// The highest key in the slice.
    package let last: Key

    /// Makes the slice from `first` to `last`.
    ///
    /// - Throws: `SlicerError` with code `.invalidSlice` if `last` is below `first`.
    package init(_ first: Key, _ last: Key) throws(SlicerError) {
        guard first <= last else {
            throw SlicerError(
                .invalidSlice,
                "make the slice \(first)-\(last): its last key is below its first; exchange the two"
            )
        }
        self.first = first
        self.last = last
    }

    /// The slice that holds one key only.
    package init(_ key: Key) {
        first = key
        last = key
    }

    init(uncheckedFirst first: UInt64, last: UInt64) {
        self.first = Key(first)
        self.last = Key(last)
    }

    /// Whether the slice holds one key only, so that it cannot be split.
    package var isSingleKey: Bool { first == last }

    /// The part of the hash space, above 0 and up to 1.
    package var share: Double { Slice.share(first.value, last.value) }

    /// Whether the key is in the slice.
    package func contains(_ key: Key) -> Bool { first <= key && key <= last }

    /// Whether the two slices have a key in common.
    package func overlaps(_ other: Slice) -> Bool { first <= other.last && other.first <= last }

    static func share(_ first: UInt64, _ last: UInt64) -> Double {
        (Double(last - first) + 1) / 0x1p64
    }
}

extension Slice: CustomStringConvertible {
    /// The two ends in hexadecimal, joined by a hyphen.
    package var description: String { "\(first)-\(last)" }
}
