public import Foundation
import Glibc

/// Unpacks `.tar.gz` files that come from anywhere, and never trusts them.
///
/// Every path is relative and stays inside; links cannot lead out and nothing is placed through one; devices, pipes,
/// hard links and sparse files are refused; owners, times and special mode bits are ignored; bytes, entries, path
/// lengths and depth are limited. Files are made anew, never opened over something that is there.
public enum ArchiveReader {
    /// What was unpacked.
    public struct Summary: Sendable, Equatable {
        public var entries = 0
        public var unpackedBytes = 0
    }

    /// Unpacks an archive into a folder, which is made and must not be there yet.
    ///
    /// After an error it is gone again.
    ///
    /// - Throws: ``ArchiveError``: `malformed`, `unsafe` or `tooLarge` when the archive is to blame, `file` or
    ///   `diskFull` when the system is.
    public static func unpack(
        _ archive: URL,
        into folder: URL,
        limits: ArchiveLimits = .standard
    ) throws(ArchiveError) -> Summary {
        let root = folder.path(percentEncoded: false).droppingSlash
        guard mkdir(root, 0o755) == 0 else { throw .system("make the folder \(root)") }
        do {
            let path = archive.path(percentEncoded: false)
            var unpacking = Unpacking(
                archive: path,
                file: try OpenFile(path, O_RDONLY),
                root: try OpenFile(root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW),
                rootPath: root,
                limits: limits,
                inflater: try Inflater()
            )
            return try unpacking.run()
        } catch {
            // The first error is the one to report; what stays behind is in a temporary folder of the caller's.
            try? FileManager.default.removeItem(at: folder)
            throw error
        }
    }
}

/// One archive on its way into a folder.
private struct Unpacking: ~Copyable {
    private let archive: String
    private let file: OpenFile
    private let root: OpenFile
    private let rootPath: String
    private let limits: ArchiveLimits
    private let inflater: Inflater
    private var summary = ArchiveReader.Summary()
    /// Headers, records and padding, which count against a limit of their own.
    private var overheadBytes = 0
    private let block = Buffer(count: TarHeader.size)

    private static let maximumRecordBytes = 64 * 1024
    /// Zeros that a tar program may write behind the end mark to fill its last record.
    private static let maximumTrailingBytes = 1 << 20

    init(
        archive: String,
        file: consuming OpenFile,
        root: consuming OpenFile,
        rootPath: String,
        limits: ArchiveLimits,
        inflater: Inflater
    ) {
        self.archive = archive
        self.file = file
        self.root = root
        self.rootPath = rootPath
        self.limits = limits
        self.inflater = inflater
    }

    mutating func run() throws(ArchiveError) -> ArchiveReader.Summary {
        var records = PaxRecords()
        while let header = try nextHeader() {
            switch header.kind {
            case .paxRecords:
                records = try PaxRecords.decode(try recordContent(header))
            case .paxGlobalRecords:
                _ = try PaxRecords.decode(try recordContent(header))
            case .gnuLongPath:
                records.path = try longName(header)
            case .gnuLongTarget:
                records.target = try longName(header)
            default:
                var entry = header
                entry.path = records.path ?? header.path
                entry.target = records.target ?? header.target
                entry.contentBytes = records.contentBytes ?? header.contentBytes
                records = PaxRecords()
                try take(entry)
            }
        }
        try readToEnd()
        guard summary.entries > 0 else { throw ArchiveError(.malformed, "the archive is empty") }
        return summary
    }

    private mutating func nextHeader() throws(ArchiveError) -> TarHeader? {
        try read(TarHeader.size)
        overheadBytes += TarHeader.size
        guard overheadBytes <= (limits.entries + 1) * 4 * TarHeader.size + Self.maximumRecordBytes else {
            throw ArchiveError(.tooLarge, "the archive has more headers than \(limits.entries) files need")
        }
        return try TarHeader.decode(UnsafeRawBufferPointer(block.bytes))
    }

    /// Reads exactly `count` bytes, at most a block, into the block.
    private mutating func read(_ count: Int) throws(ArchiveError) {
        let got = try inflater.read(into: block.prefix(count), from: file, path: archive)
        guard got == count else { throw ArchiveError(.malformed, "the archive ends in the middle") }
    }

    private mutating func recordContent(_ header: TarHeader) throws(ArchiveError) -> [UInt8] {
        overheadBytes += header.contentBytes
        guard header.contentBytes <= Self.maximumRecordBytes else {
            throw ArchiveError(
                .tooLarge,
                "the archive has a header of more than \(Self.maximumRecordBytes) bytes"
            )
        }
        var content: [UInt8] = []
        while content.count < header.contentBytes {
            try read(TarHeader.size)
            content += block.bytes.prefix(header.contentBytes - content.count)
        }
        return content
    }

    private mutating func longName(_ header: TarHeader) throws(ArchiveError) -> String {
        let bytes = try recordContent(header).prefix { $0 != 0 }
        guard let name = String(validating: bytes, as: UTF8.self) else {
            throw ArchiveError(.malformed, "a path in the archive is not UTF-8")
        }
        return name
    }

    private mutating func take(_ entry: TarHeader) throws(ArchiveError) {
        summary.entries += 1
        guard summary.entries <= limits.entries else {
            throw ArchiveError(.tooLarge, "the archive has more than \(limits.entries) files")
        }
        let components = try EntryPath.components(of: entry.path, limits: limits)
        switch entry.kind {
        case .folder:
            _ = try folder(components, path: entry.path)
        case .file:
            try makeFile(components, entry)
        case .symbolicLink:
            try makeLink(components, entry)
        case .other(let letter):
            throw ArchiveError(
                .unsafe,
                "\(EntryPath.quoted(entry.path)) is \(Self.name(letter)), which is not allowed"
            )
        case .paxRecords, .paxGlobalRecords, .gnuLongPath, .gnuLongTarget:
            break
        }
    }

    private static func name(_ letter: UInt8) -> String {
        switch letter {
        case UInt8(ascii: "1"): "a hard link"
        case UInt8(ascii: "3"), UInt8(ascii: "4"): "a device"
        case UInt8(ascii: "6"): "a pipe"
        case UInt8(ascii: "S"): "a sparse file"
        default: "an entry of an unknown kind"
        }
    }

    /// Opens a folder below the root, making what is missing of it.
    ///
    /// No part may be a link.
    private func folder(_ components: [String], path: String) throws(ArchiveError) -> OpenFile {
        var current = try OpenFile(".", in: root, O_RDONLY | O_DIRECTORY, path: rootPath)
        for name in components {
            if mkdirat(current.descriptor, name, 0o755) != 0, errno != EEXIST {
                throw .system("make the folder \(EntryPath.quoted(path))")
            }
            let descriptor = openat(current.descriptor, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            guard descriptor >= 0 else {
                guard errno == ENOTDIR || errno == ELOOP else {
                    throw .system("open \(EntryPath.quoted(path))")
                }
                throw ArchiveError(
                    .unsafe,
                    "\(EntryPath.quoted(path)) goes through \(EntryPath.quoted(name)), which is no folder"
                )
            }
            current = OpenFile(adopting: descriptor)
        }
        return current
    }

    private mutating func makeFile(_ components: [String], _ entry: TarHeader) throws(ArchiveError) {
        guard entry.contentBytes <= limits.unpackedBytes - summary.unpackedBytes else {
            throw ArchiveError(
                .tooLarge,
                "the archive unpacks to more than \(limits.unpackedBytes >> 20) MiB"
            )
        }
        summary.unpackedBytes += entry.contentBytes
        guard let name = components.last else {
            throw ArchiveError(.unsafe, "\(EntryPath.quoted(entry.path)) is no file name")
        }
        let parent = try folder(components.dropLast(), path: entry.path)
        let mode: mode_t = entry.mode & 0o100 != 0 ? 0o755 : 0o644
        let descriptor = openat(
            parent.descriptor,
            name,
            O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
            mode
        )
        guard descriptor >= 0 else { throw creationError(entry.path) }
        let output = OpenFile(adopting: descriptor)
        // The mode must not depend on this process's mask.
        guard fchmod(output.descriptor, mode) == 0 else { throw .system("set the mode of \(entry.path)") }
        try copyContent(entry, to: output)
    }

    private func copyContent(_ entry: TarHeader, to output: borrowing OpenFile) throws(ArchiveError) {
        let padded = (entry.contentBytes + TarHeader.size - 1) / TarHeader.size * TarHeader.size
        let buffer = Buffer(count: 64 * 1024)
        var done = 0
        while done < padded {
            let want = min(padded - done, buffer.count)
            let got = try inflater.read(into: buffer.prefix(want), from: file, path: archive)
            guard got == want else { throw ArchiveError(.malformed, "the archive ends in the middle") }
            let useful = min(got, entry.contentBytes - done)
            if useful > 0 {
                try output.write(all: UnsafeRawBufferPointer(buffer.prefix(useful)), path: entry.path)
            }
            done += got
        }
    }

    private mutating func makeLink(_ components: [String], _ entry: TarHeader) throws(ArchiveError) {
        try EntryPath.checkTarget(entry.target, ofLinkAt: components, limits: limits)
        guard let name = components.last else {
            throw ArchiveError(.unsafe, "\(EntryPath.quoted(entry.path)) is no file name")
        }
        let parent = try folder(components.dropLast(), path: entry.path)
        guard symlinkat(entry.target, parent.descriptor, name) == 0 else { throw creationError(entry.path) }
    }

    private func creationError(_ path: String) -> ArchiveError {
        guard errno == EEXIST else { return .system("make \(EntryPath.quoted(path))") }
        return ArchiveError(.malformed, "\(EntryPath.quoted(path)) stands in the archive twice")
    }

    /// Reads what follows the end mark, so that the checksum of the whole file is checked.
    private mutating func readToEnd() throws(ArchiveError) {
        var count = 0
        while !inflater.isAtEnd {
            count += try inflater.read(into: block.bytes, from: file, path: archive)
            guard count <= Self.maximumTrailingBytes else {
                throw ArchiveError(.malformed, "the archive goes on behind its end")
            }
        }
    }
}
