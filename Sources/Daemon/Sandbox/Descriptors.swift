import CSandbox
import Glibc

func openForWriting(_ path: String) -> Int32 { csandbox_open_write(path) }
func closeDescriptor(_ fd: Int32) { csandbox_close(fd) }

/// Writes once: the bytes that were taken, or a negative error number.
func writeBytes(_ fd: Int32, _ bytes: UnsafeRawBufferPointer) -> Int64 {
    csandbox_write(fd, bytes.baseAddress, UInt64(bytes.count))
}

/// Reads once and hands the bytes over.
///
/// Returns whether the descriptor has come to its end or failed.
func readOnce(_ fd: Int32, _ body: (UnsafeRawBufferPointer) -> Void) -> Bool {
    withUnsafeTemporaryAllocation(byteCount: 16 * 1024, alignment: 1) { buffer in
        let count = csandbox_read(fd, buffer.baseAddress, UInt64(buffer.count))
        if count > 0 { body(UnsafeRawBufferPointer(rebasing: buffer[..<Int(count)])) }
        return count == 0 || (count < 0 && count != -Int64(EAGAIN))
    }
}

/// The monotonic clock.
package func uptime() -> Uptime { .nanoseconds(csandbox_monotonic()) }
