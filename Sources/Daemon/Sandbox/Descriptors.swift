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

/// Lets this process and its children have as many files open as they may: the soft limit is often 1,024, which a host with
/// some hundred awake apps needs.
///
/// Workers get a limit of their own.
func raiseFileLimit() {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur < limit.rlim_max
    else { return }
    // Some programs walk over every number that they could have.
    limit.rlim_cur = max(limit.rlim_cur, min(limit.rlim_max, 1 << 18))
    // Where the kernel refuses, things go on with what there is.
    _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}

/// Lets this process's threads have the CPU soon when they want it: they do little at a time, and all apps wait for it.
func shortenTurns() {
    // Where the kernel refuses, things go on as they are.
    _ = csandbox_set_turns(UInt64(WorkerBoot.hostTurn / .nanoseconds(1)))
}

/// The monotonic clock.
package func uptime() -> Uptime { .nanoseconds(csandbox_monotonic()) }
