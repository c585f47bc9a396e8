/// Decompresses LZ4 blocks.
///
/// Source: "LZ4 Block Format Description" of the LZ4 project.
enum LZ4Block {
    /// The content of a block, or nil when it is not a block of exactly `count` bytes.
    static func decompressed(_ block: ArraySlice<UInt8>, count: Int) -> [UInt8]? {
        var out: [UInt8] = []
        out.reserveCapacity(count)
        var rest = block
        while let token = rest.popFirst() {
            guard let literals = length(Int(token >> 4), &rest), rest.count >= literals,
                out.count + literals <= count
            else { return nil }
            out += rest.prefix(literals)
            rest = rest.dropFirst(literals)
            if rest.isEmpty { break }
            guard rest.count >= 2 else { return nil }
            let distance = Int(rest[rest.startIndex]) | Int(rest[rest.startIndex + 1]) << 8
            rest = rest.dropFirst(2)
            guard let matched = length(Int(token & 15), &rest), distance > 0, distance <= out.count,
                out.count + matched + 4 <= count
            else { return nil }
            // A match may reach into what it writes itself.
            for _ in 0..<(matched + 4) { out.append(out[out.count - distance]) }
        }
        return out.count == count ? out : nil
    }

    /// A length of four bits that goes on in further bytes while those are 255.
    private static func length(_ start: Int, _ rest: inout ArraySlice<UInt8>) -> Int? {
        guard start == 15 else { return start }
        var sum = start
        while true {
            guard let byte = rest.popFirst() else { return nil }
            sum += Int(byte)
            if byte != 255 { return sum }
        }
    }
}
