import CZlib

/// Decompresses one gzip file (RFC 1952) bit by bit, checking its checksum at the end.
final class Inflater {
    private let stream: UnsafeMutablePointer<z_stream>
    private let input: UnsafeMutableRawBufferPointer
    private(set) var isAtEnd = false

    private static let gzipWindowBits: CInt = 15 + 16

    init() throws(ArchiveError) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        input = .allocate(byteCount: 64 * 1024, alignment: 1)
        let status = inflateInit2_(
            stream,
            Self.gzipWindowBits,
            ZLIB_VERSION,
            CInt(MemoryLayout<z_stream>.size)
        )
        guard status == Z_OK else { throw ArchiveError(.file, "zlib could not start (status \(status))") }
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
        input.deallocate()
    }

    /// Fills the buffer as far as the file goes; fewer bytes than asked for only at its end.
    func read(
        into buffer: UnsafeMutableRawBufferPointer,
        from file: borrowing OpenFile,
        path: String
    ) throws(ArchiveError) -> Int {
        guard let start = buffer.assumingMemoryBound(to: UInt8.self).baseAddress else { return 0 }
        stream.pointee.next_out = start
        stream.pointee.avail_out = uInt(buffer.count)
        while stream.pointee.avail_out > 0, !isAtEnd {
            if stream.pointee.avail_in == 0 {
                let count = try file.read(into: input, path: path)
                guard count > 0 else { throw ArchiveError(.malformed, "the archive ends in the middle") }
                stream.pointee.next_in = input.assumingMemoryBound(to: UInt8.self).baseAddress
                stream.pointee.avail_in = uInt(count)
            }
            switch inflate(stream, Z_NO_FLUSH) {
            case Z_OK, Z_BUF_ERROR: break
            case Z_STREAM_END: isAtEnd = true
            default:
                let reason = stream.pointee.msg.map { String(cString: $0) } ?? "damaged data"
                throw ArchiveError(.malformed, "the archive is not a whole gzip file: \(reason)")
            }
        }
        return buffer.count - Int(stream.pointee.avail_out)
    }
}
