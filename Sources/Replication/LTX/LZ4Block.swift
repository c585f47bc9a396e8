/// Decompresses LZ4 blocks.
///
/// Source: "LZ4 Block Format Description" of the LZ4 project.
enum LZ4Block {
    /// The content of a block, or nil when it is not a block of exactly `count` bytes.
    static func decompressed(_ block: ArraySlice<UInt8>, count: Int) -> [UInt8]? {
        var isWhole = false
        let content = [UInt8](unsafeUninitializedCapacity: count) { output, filled in
            let written = block.withUnsafeBufferPointer { decompress($0, into: output, count: count) }
            filled = written ?? 0
            isWhole = written == count
        }
        return isWhole ? content : nil
    }

    /// How many bytes were written, at most `count`; nil when the block is malformed.
    private static func decompress(
        _ block: UnsafeBufferPointer<UInt8>,
        into output: UnsafeMutableBufferPointer<UInt8>,
        count: Int
    ) -> Int? {
        var (read, written) = (0, 0)
        while read < block.count {
            let token = block[read]
            read += 1
            guard let literals = length(Int(token >> 4), block, &read), literals <= block.count - read,
                literals <= count - written
            else { return nil }
            for index in 0..<literals { output[written + index] = block[read + index] }
            read += literals
            written += literals
            if read == block.count { break }
            guard block.count - read >= 2 else { return nil }
            let distance = Int(block[read]) | Int(block[read + 1]) << 8
            read += 2
            guard let matched = length(Int(token & 15), block, &read), distance > 0, distance <= written,
                matched + 4 <= count - written
            else { return nil }
            // A match may reach into what it writes itself.
            for index in written..<(written + matched + 4) { output[index] = output[index - distance] }
            written += matched + 4
        }
        return written
    }

    /// A length of four bits that goes on in further bytes while those are 255.
    private static func length(_ start: Int, _ block: UnsafeBufferPointer<UInt8>, _ read: inout Int) -> Int? {
        guard start == 15 else { return start }
        var sum = start
        while read < block.count {
            let byte = block[read]
            read += 1
            sum += Int(byte)
            if byte != 255 { return sum }
        }
        return nil
    }
}
