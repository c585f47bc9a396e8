/// The 64-bit cyclic redundancy check of ISO 3309, as LTX files carry it: reflected, all ones at start and end.
struct CRC64 {
    private static let polynomial: UInt64 = 0xD800_0000_0000_0000

    /// Eight tables, so that eight bytes are taken in one step.
    private static let tables: [[UInt64]] = {
        let first = (0..<256).map { byte in
            (0..<8).reduce(UInt64(byte)) { value, _ in value & 1 == 1 ? value >> 1 ^ polynomial : value >> 1 }
        }
        var tables = [first]
        for index in 1..<8 { tables.append(tables[index - 1].map { first[Int($0 & 0xFF)] ^ $0 >> 8 }) }
        return tables
    }()

    private var state: UInt64 = .max

    var value: UInt64 { ~state }

    mutating func update(_ bytes: some Collection<UInt8>) {
        let done: Void? = bytes.withContiguousStorageIfAvailable { update($0) }
        if done == nil { Array(bytes).withUnsafeBufferPointer { update($0) } }
    }

    private mutating func update(_ bytes: UnsafeBufferPointer<UInt8>) {
        let tables = Self.tables
        var crc = state
        var index = 0
        while index + 8 <= bytes.count {
            for offset in 0..<8 { crc ^= UInt64(bytes[index + offset]) << (8 * UInt64(offset)) }
            var next: UInt64 = 0
            for offset in 0..<8 { next ^= tables[7 - offset][Int(crc >> (8 * UInt64(offset)) & 0xFF)] }
            crc = next
            index += 8
        }
        while index < bytes.count {
            crc = tables[0][Int((crc ^ UInt64(bytes[index])) & 0xFF)] ^ crc >> 8
            index += 1
        }
        state = crc
    }
}
