import CSandbox

func openForWriting(_ path: String) -> Int32 { csandbox_open_write(path) }
func closeDescriptor(_ fd: Int32) { csandbox_close(fd) }

/// Writes once: the bytes that were taken, or a negative error number.
func writeBytes(_ fd: Int32, _ bytes: UnsafeRawBufferPointer) -> Int64 {
    csandbox_write(fd, bytes.baseAddress, UInt64(bytes.count))
}

/// The monotonic clock.
package func uptime() -> Uptime { .nanoseconds(csandbox_monotonic()) }
