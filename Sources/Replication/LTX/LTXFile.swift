/// Writes, reads and checks whole LTX files.
///
/// After the header come the pages: number (4 bytes), flags (2), size of the compressed page (4) and the page as an
/// LZ4 block; then six zero bytes, an index of the pages, its size (8 bytes), and a trailer with the checksum of the
/// database after the file (8) and of the file (8). The file's checksum is a CRC-64 over everything before it, with
/// the pages' plain content in place of the compressed one, and its highest bit is set.
enum LTXFile {
    /// A file that holds one transaction which changes no page.
    ///
    /// `header`: with `minTransaction` equal to `maxTransaction`, above 1.
    static func withoutPages(_ header: LTXHeader) -> [UInt8] {
        let endOfPages = [UInt8](repeating: 0, count: 6)
        let emptyIndex: [UInt8] = [0] + [0, 0, 0, 0, 0, 0, 0, 1]
        let databaseChecksum = [UInt8](repeating: 0, count: 8)
        let content = header.bytes + endOfPages + emptyIndex + databaseChecksum
        var crc = CRC64()
        crc.update(content)
        return content + bigEndian(crc.value | checksumFlag)
    }

    /// What is wrong with a file, or nil when it is sound: its structure holds and its checksum fits its content.
    static func problem(_ bytes: [UInt8]) -> String? { walk(bytes) { _, _ in } }

    /// The pages of a file with their plain content, in its order.
    ///
    /// - Throws: `ReplicationError` with the code `damaged`.
    static func pages(_ bytes: [UInt8]) throws -> [(number: UInt32, content: [UInt8])] {
        var pages: [(number: UInt32, content: [UInt8])] = []
        if let problem = walk(bytes, { pages.append(($0, $1)) }) {
            throw ReplicationError(.damaged, "read a file of a replica: \(problem)")
        }
        return pages
    }

    /// Goes through a file; what is wrong with it may only be known at its end.
    private static func walk(
        _ bytes: [UInt8],
        _ body: (_ number: UInt32, _ content: [UInt8]) -> Void
    ) -> String? {
        guard let header = LTXHeader(bytes) else { return "it has no LTX header" }
        guard bytes.count >= LTXHeader.byteCount + 6 + 1 + 8 + 16 else { return "it is cut short" }
        var crc = CRC64()
        crc.update(bytes[..<LTXHeader.byteCount])
        var rest = bytes[LTXHeader.byteCount...]
        while true {
            guard rest.count >= 6 else { return "it is cut short" }
            let number = UInt32(bigEndian(rest.prefix(4)))
            let flags = UInt16(bigEndian(rest.dropFirst(4).prefix(2)))
            crc.update(rest.prefix(6))
            rest = rest.dropFirst(6)
            if number == 0 { break }
            guard flags == 1, number <= header.commit else { return "page \(number) has a wrong header" }
            guard rest.count >= 4 else { return "it is cut short" }
            let size = Int(bigEndian(rest.prefix(4)))
            crc.update(rest.prefix(4))
            rest = rest.dropFirst(4)
            guard rest.count >= size else { return "it is cut short" }
            guard let page = LZ4Block.decompressed(rest.prefix(size), count: Int(header.pageSize)) else {
                return "page \(number) can't be decompressed"
            }
            crc.update(page)
            body(number, page)
            rest = rest.dropFirst(size)
        }
        guard rest.count >= 8 + 16 else { return "it is cut short" }
        crc.update(rest.dropLast(8))
        guard bigEndian(rest.suffix(8)) == crc.value | checksumFlag else {
            return "its checksum does not fit its content"
        }
        return nil
    }

    private static let checksumFlag: UInt64 = 1 << 63

    private static func bigEndian(_ number: UInt64) -> [UInt8] {
        withUnsafeBytes(of: number.bigEndian) { Array($0) }
    }

    private static func bigEndian(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }
}
