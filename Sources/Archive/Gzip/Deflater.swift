import CZlib

/// Compresses bytes into a gzip file (RFC 1952) whose header holds no time and no name, so equal input gives an equal
/// file.
final class Deflater {
    private let stream: UnsafeMutablePointer<z_stream>
    private var output = [UInt8](repeating: 0, count: 64 * 1024)

    /// Window of 2^15 bytes (zlib's largest); 16 more asks zlib for a gzip header and trailer.
    private static let gzipWindowBits: CInt = 15 + 16

    init() throws(ArchiveError) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let status = deflateInit2_(
            stream,
            Z_DEFAULT_COMPRESSION,
            Z_DEFLATED,
            Self.gzipWindowBits,
            8,
            Z_DEFAULT_STRATEGY,
            ZLIB_VERSION,
            CInt(MemoryLayout<z_stream>.size)
        )
        guard status == Z_OK else { throw ArchiveError(.file, "zlib could not start (status \(status))") }
    }

    deinit {
        deflateEnd(stream)
        stream.deallocate()
    }

    /// Takes bytes and gives what is ready to `sink`.
    func write(
        _ bytes: UnsafeRawBufferPointer,
        to sink: (UnsafeRawBufferPointer) throws(ArchiveError) -> Void
    ) throws(ArchiveError) {
        // zlib reads through this pointer and never writes.
        stream.pointee.next_in = UnsafeMutablePointer(
            mutating: bytes.assumingMemoryBound(to: UInt8.self).baseAddress
        )
        stream.pointee.avail_in = uInt(bytes.count)
        try run(Z_NO_FLUSH, to: sink)
    }

    func finish(to sink: (UnsafeRawBufferPointer) throws(ArchiveError) -> Void) throws(ArchiveError) {
        stream.pointee.next_in = nil
        stream.pointee.avail_in = 0
        try run(Z_FINISH, to: sink)
    }

    private func run(
        _ flush: CInt,
        to sink: (UnsafeRawBufferPointer) throws(ArchiveError) -> Void
    ) throws(ArchiveError) {
        var room = 0
        repeat {
            let capacity = output.count
            let status = output.withUnsafeMutableBufferPointer { buffer in
                stream.pointee.next_out = buffer.baseAddress
                stream.pointee.avail_out = uInt(capacity)
                return deflate(stream, flush)
            }
            guard status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR else {
                throw ArchiveError(.file, "zlib could not compress (status \(status))")
            }
            room = Int(stream.pointee.avail_out)
            let made = capacity - room
            guard made > 0 else { return }
            let chunk = output
            try chunk.span.bytes.withUnsafeBytes { bytes throws(ArchiveError) in
                try sink(UnsafeRawBufferPointer(rebasing: bytes[..<made]))
            }
        } while room == 0
    }
}
