import Glibc

/// An open file descriptor that closes itself.
struct OpenFile: ~Copyable {
    let descriptor: CInt

    init(_ path: String, _ flags: CInt, mode: mode_t = 0) throws(ArchiveError) {
        descriptor = open(path, flags | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw .system("open \(path)") }
    }

    init(
        _ name: String,
        in folder: borrowing OpenFile,
        _ flags: CInt,
        mode: mode_t = 0,
        path: String
    )
        throws(ArchiveError)
    {
        descriptor = openat(folder.descriptor, name, flags | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw .system("open \(path)") }
    }

    init(adopting descriptor: CInt) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    /// Reads up to the buffer's size; 0 at the end of the file.
    func read(into buffer: UnsafeMutableRawBufferPointer, path: String) throws(ArchiveError) -> Int {
        while true {
            let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
            if count >= 0 { return count }
            guard errno == EINTR else { throw .system("read \(path)") }
        }
    }

    func write(all bytes: UnsafeRawBufferPointer, path: String) throws(ArchiveError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = Glibc.write(
                descriptor,
                UnsafeRawBufferPointer(rebasing: rest).baseAddress,
                rest.count
            )
            if count < 0 {
                guard errno == EINTR else { throw .system("write \(path)") }
                continue
            }
            rest = rest.dropFirst(count)
        }
    }

    func synchronize(path: String) throws(ArchiveError) {
        guard fsync(descriptor) == 0 else { throw .system("sync \(path)") }
    }
}

extension ArchiveError {
    /// The error that `errno` tells, for an action such as `open /a/b`.
    static func system(_ action: String) -> Self {
        let number = errno
        let reason = String(cString: strerror(number))
        let isFull = number == ENOSPC || number == EDQUOT
        return Self(isFull ? .diskFull : .file, "\(action): \(reason)")
    }
}
