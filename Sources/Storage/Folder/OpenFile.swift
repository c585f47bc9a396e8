package import Glibc
package import NIOCore
import NIOPosix

/// Runs a call that blocks on files or locks on a thread of NIO's pool.
package func blocking<Result: Sendable>(
    _ body: @escaping @Sendable () throws -> Result
) async throws -> Result {
    try await NIOThreadPool.singleton.runIfActive(body)
}

/// A failed system call on a file: what was tried, on what, and errno.
package struct FileError: Error, CustomStringConvertible {
    package let action: String
    package let path: String
    package let number: Int32

    init(_ action: String, _ path: String, number: Int32 = errno) {
        self.action = action
        self.path = path
        self.number = number
    }

    package var description: String { "\(action) \(path): \(String(cString: strerror(number)))" }
}

/// An open file, closed when the last reference goes.
///
/// Reads and writes go on from where the last one ended; one task at a time uses a file.
package final class OpenFile: Sendable {
    package let path: String
    private let descriptor: Int32

    package init(_ path: String, flags: Int32) throws {
        self.path = path
        descriptor = open(path, flags | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw FileError("open", path) }
    }

    deinit { close(descriptor) }

    /// Size in bytes, time of the last change, whether this is a regular file, and how many names it has.
    package func status() throws -> stat {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw FileError("look at", path) }
        return status
    }

    package func seek(to offset: Int64) throws {
        guard lseek(descriptor, off_t(offset), SEEK_SET) >= 0 else { throw FileError("seek in", path) }
    }

    /// Up to `count` bytes, or nil at the end.
    package func read(upTo count: Int) throws -> ByteBuffer? {
        var buffer = ByteBufferAllocator().buffer(capacity: count)
        let got = try buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { bytes in
            while true {
                let got = Glibc.read(descriptor, bytes.baseAddress, count)
                if got >= 0 { return got }
                guard errno == EINTR else { throw FileError("read", path) }
            }
        }
        return got == 0 ? nil : buffer
    }

    package func write(_ bytes: ByteBuffer) throws {
        try bytes.withUnsafeReadableBytes { bytes in
            var done = 0
            while done < bytes.count {
                let count = Glibc.write(descriptor, bytes.baseAddress?.advanced(by: done), bytes.count - done)
                if count > 0 { done += count } else if errno != EINTR { throw FileError("write", path) }
            }
        }
    }

    /// Writes at an offset, wherever reads and writes would go on.
    package func write(_ bytes: [UInt8], at offset: Int64) throws {
        try bytes.withUnsafeBytes { bytes in
            var done = 0
            while done < bytes.count {
                let count = pwrite(
                    descriptor,
                    bytes.baseAddress?.advanced(by: done),
                    bytes.count - done,
                    off_t(offset) + off_t(done)
                )
                if count > 0 { done += count } else if errno != EINTR { throw FileError("write", path) }
            }
        }
    }

    /// Cuts the file, or fills it with zeros.
    package func resize(to byteCount: Int64) throws {
        guard ftruncate(descriptor, off_t(byteCount)) == 0 else { throw FileError("resize", path) }
    }

    package func synchronize() throws {
        guard fsync(descriptor) == 0 else { throw FileError("flush", path) }
    }

    /// Takes the advisory lock of this open file; waits for it, or with `LOCK_NB` gives false when another has it.
    package func lock(_ operation: Int32) throws -> Bool {
        while flock(descriptor, operation) != 0 {
            if errno == EWOULDBLOCK { return false }
            guard errno == EINTR else { throw FileError("lock", path) }
        }
        return true
    }

    /// Gives the file a second name; false when there is one already.
    func link(to target: String) throws -> Bool {
        if Glibc.link(path, target) == 0 { return true }
        guard errno == EEXIST else { throw FileError("link to", target) }
        return false
    }

    /// Copies the whole content from another file.
    func copyContent(from source: OpenFile) throws {
        while let piece = try source.read(upTo: 1 << 20) { try write(piece) }
    }

    /// Sets the time of the last change.
    func setModified(_ time: timespec) throws {
        let times = [time, time]
        guard futimens(descriptor, times) == 0 else { throw FileError("set the time of", path) }
    }
}

/// Calls on names in the file system.
package enum FileSystem {
    package static func rename(_ source: String, to target: String) throws {
        guard Glibc.rename(source, target) == 0 else { throw FileError("rename \(source) to", target) }
    }

    /// Removes a file; one that is not there is no error.
    package static func remove(_ path: String) throws {
        guard unlink(path) == 0 || errno == ENOENT else { throw FileError("remove", path) }
    }

    /// Makes a folder and those above it, each flushed to the disk; those that are there are no error.
    package static func makeFolders(_ path: String) throws {
        if mkdir(path, 0o755) == 0 {
            try synchronizeFolder(of: path)
            return
        }
        switch errno {
        case EEXIST: return
        case ENOENT:
            guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
                throw FileError("make", path)
            }
            try makeFolders(String(path[..<slash]))
            guard mkdir(path, 0o755) == 0 || errno == EEXIST else { throw FileError("make", path) }
            try synchronizeFolder(of: path)
        default: throw FileError("make", path)
        }
    }

    /// Flushes the names in the folder that holds `path` to the disk.
    package static func synchronizeFolder(of path: String) throws {
        let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        try OpenFile(folder, flags: O_RDONLY | O_DIRECTORY).synchronize()
    }

    /// The names in a folder, without `.` and `..`, in no order; none when there is no such folder.
    package static func names(in folder: String) throws -> [(name: String, isFolder: Bool)] {
        guard let stream = opendir(folder) else {
            if errno == ENOENT || errno == ENOTDIR { return [] }
            throw FileError("list", folder)
        }
        defer { closedir(stream) }
        var names: [(name: String, isFolder: Bool)] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name == "." || name == ".." { continue }
            var isFolder = entry.pointee.d_type == UInt8(DT_DIR)
            if entry.pointee.d_type == UInt8(DT_UNKNOWN) {
                var status = stat()
                isFolder = lstat("\(folder)/\(name)", &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
            }
            names.append((name, isFolder))
        }
        return names
    }
}
