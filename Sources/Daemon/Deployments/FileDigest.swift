import Crypto
import CSandbox
import Foundation

/// The SHA-256 of a file, read piece by piece.
enum FileDigest {
    /// - Throws: ``SystemError``.
    static func sha256(_ path: String) throws -> (digest: [UInt8], bytes: Int) {
        let fd = try SystemError.check(csandbox_open_read(path), "open \(path)")
        defer { csandbox_close(fd) }
        var hash = SHA256()
        var total = 0
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 * 1024, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            let result = csandbox_read(fd, buffer.baseAddress, UInt64(buffer.count))
            let count = Int(try SystemError.check(result, "read \(path)"))
            if count == 0 { return (Array(hash.finalize()), total) }
            hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            total += count
        }
    }
}
