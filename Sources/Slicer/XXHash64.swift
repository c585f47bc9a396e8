/// XXH64, the 64-bit xxHash, written from its specification.
///
/// The algorithm and its constants are those of the xxHash specification, version 0.1.1
/// (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md). It is not a cryptographic hash:
/// whoever chooses names can make them collide.
struct XXHash64 {
    private static let prime1: UInt64 = 0x9E37_79B1_85EB_CA87
    private static let prime2: UInt64 = 0xC2B2_AE3D_27D4_EB4F
    private static let prime3: UInt64 = 0x1656_67B1_9E37_79F9
    private static let prime4: UInt64 = 0x85EB_CA77_C2B2_AE63
    private static let prime5: UInt64 = 0x27D4_EB2F_1656_67C5

    /// Hashes all bytes at once.
    static func hash(_ bytes: [UInt8], seed: UInt64 = 0) -> UInt64 {
        bytes.withUnsafeBufferPointer { hash($0, seed: seed) }
    }

    /// Hashes all bytes at once, wherever they are.
    static func hash(_ bytes: UnsafeBufferPointer<UInt8>, seed: UInt64 = 0) -> UInt64 {
        var offset = 0
        var result: UInt64
        if bytes.count >= 32 {
            var lanes = (seed &+ prime1 &+ prime2, seed &+ prime2, seed, seed &- prime1)
            while offset + 32 <= bytes.count {
                lanes.0 = mix(lanes.0, word(bytes, offset))
                lanes.1 = mix(lanes.1, word(bytes, offset + 8))
                lanes.2 = mix(lanes.2, word(bytes, offset + 16))
                lanes.3 = mix(lanes.3, word(bytes, offset + 24))
                offset += 32
            }
            result =
                rotate(lanes.0, 1) &+ rotate(lanes.1, 7) &+ rotate(lanes.2, 12) &+ rotate(lanes.3, 18)
            result = join(result, lanes.0)
            result = join(result, lanes.1)
            result = join(result, lanes.2)
            result = join(result, lanes.3)
        } else {
            result = seed &+ prime5
        }
        result &+= UInt64(bytes.count)
        return avalanche(absorbTail(result, bytes, from: offset))
    }

    private static func absorbTail(
        _ start: UInt64,
        _ bytes: UnsafeBufferPointer<UInt8>,
        from first: Int
    ) -> UInt64 {
        var result = start
        var offset = first
        while offset + 8 <= bytes.count {
            result = rotate(result ^ mix(0, word(bytes, offset)), 27) &* prime1 &+ prime4
            offset += 8
        }
        if offset + 4 <= bytes.count {
            result ^= halfWord(bytes, offset) &* prime1
            result = rotate(result, 23) &* prime2 &+ prime3
            offset += 4
        }
        while offset < bytes.count {
            result = rotate(result ^ (UInt64(bytes[offset]) &* prime5), 11) &* prime1
            offset += 1
        }
        return result
    }

    private static func avalanche(_ value: UInt64) -> UInt64 {
        var result = value
        result = (result ^ (result >> 33)) &* prime2
        result = (result ^ (result >> 29)) &* prime3
        return result ^ (result >> 32)
    }

    private static func mix(_ lane: UInt64, _ input: UInt64) -> UInt64 {
        rotate(lane &+ input &* prime2, 31) &* prime1
    }

    private static func join(_ result: UInt64, _ lane: UInt64) -> UInt64 {
        (result ^ mix(0, lane)) &* prime1 &+ prime4
    }

    private static func rotate(_ value: UInt64, _ bits: UInt64) -> UInt64 {
        (value << bits) | (value >> (64 - bits))
    }

    private static func word(_ bytes: UnsafeBufferPointer<UInt8>, _ offset: Int) -> UInt64 {
        halfWord(bytes, offset) | halfWord(bytes, offset + 4) << 32
    }

    private static func halfWord(_ bytes: UnsafeBufferPointer<UInt8>, _ offset: Int) -> UInt64 {
        UInt64(bytes[offset]) | UInt64(bytes[offset + 1]) << 8
            | UInt64(bytes[offset + 2]) << 16 | UInt64(bytes[offset + 3]) << 24
    }
}
