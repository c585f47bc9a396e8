public import struct Foundation.URL
import Glibc

/// Packs a folder into a `.tar.gz` file that depends on names and content alone: no times, no owners, a fixed order.
public struct ArchiveWriter {
    /// What was packed.
    public struct Summary: Sendable, Equatable {
        public var files = 0
        public var unpackedBytes = 0
        public var archiveBytes = 0
        /// Files such as `.env`, which stay at home.
        public var leftOutSecrets: [String] = []
        /// Sockets, pipes and devices.
        public var leftOutSpecialFiles: [String] = []
    }

    private let limits: ArchiveLimits

    public init(limits: ArchiveLimits = .standard) {
        self.limits = limits
    }

    /// Packs `folder`, leaving out what its `.gitignore` and `.martletignore` files name.
    ///
    /// - Parameters:
    ///   - folder: The app's folder.
    ///   - archive: The file to write; it is replaced if it is there.
    /// - Returns: What was packed and what was left out.
    /// - Throws: ``ArchiveError``: `unsafe` for a link that leads out of the folder, `tooLarge` over a limit, `file`
    ///   and `diskFull` for what the system refuses.
    public func pack(_ folder: URL, to archive: URL) throws(ArchiveError) -> Summary {
        var walk = FolderWalk(root: folder.path(percentEncoded: false).droppingSlash, limits: limits)
        try walk.run()
        var summary = Summary()
        summary.leftOutSecrets = walk.leftOutSecrets
        summary.leftOutSpecialFiles = walk.specialFiles
        let path = archive.path(percentEncoded: false)
        let output = try OpenFile(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: 0o600)
        var stream = TarStream(deflater: try Deflater(), path: path)
        for item in walk.items {
            switch item.kind {
            case .symbolicLink(let target):
                try stream.header(
                    path: item.path,
                    kind: .symbolicLink,
                    mode: 0o777,
                    target: target,
                    to: output
                )
            case .file(let isExecutable):
                summary.unpackedBytes += try append(
                    item,
                    mode: isExecutable ? 0o755 : 0o644,
                    in: folder,
                    room: limits.unpackedBytes - summary.unpackedBytes,
                    to: &stream,
                    output
                )
            }
            summary.files += 1
        }
        try stream.finish(to: output)
        summary.archiveBytes = stream.bytesWritten
        return summary
    }

    private func append(
        _ item: FolderWalk.Item,
        mode: Int,
        in folder: URL,
        room: Int,
        to stream: inout TarStream,
        _ output: borrowing OpenFile
    ) throws(ArchiveError) -> Int {
        let path = folder.path(percentEncoded: false).droppingSlash + "/" + item.path
        let input = try OpenFile(path, O_RDONLY | O_NOFOLLOW)
        var status = stat()
        guard fstat(input.descriptor, &status) == 0 else { throw .system("look at \(path)") }
        let size = Int(status.st_size)
        guard size <= room else {
            throw ArchiveError(
                .tooLarge,
                "\(folder.path) has more than \(limits.unpackedBytes >> 20) MiB; "
                    + "leave out what the app does not need with .martletignore"
            )
        }
        try stream.header(path: item.path, kind: .file, mode: mode, contentBytes: size, to: output)
        let buffer = Buffer(count: 64 * 1024)
        var left = size
        while left > 0 {
            let want = min(left, buffer.count)
            let count = try input.read(into: buffer.prefix(want), path: path)
            guard count > 0 else {
                throw ArchiveError(.file, "\(path) became shorter while it was being packed")
            }
            try stream.content(UnsafeRawBufferPointer(buffer.prefix(count)), to: output)
            left -= count
        }
        try stream.padding(contentBytes: size, to: output)
        return size
    }
}

/// Headers and contents on their way through the compressor into the file.
private struct TarStream {
    let deflater: Deflater
    let path: String
    private(set) var bytesWritten = 0

    init(deflater: Deflater, path: String) {
        self.deflater = deflater
        self.path = path
    }

    mutating func header(
        path: String,
        kind: TarHeader.Kind,
        mode: Int,
        contentBytes: Int = 0,
        target: String = "",
        to output: borrowing OpenFile
    ) throws(ArchiveError) {
        let header = TarHeader(path: path, kind: kind, mode: mode, contentBytes: contentBytes, target: target)
        if let block = header.encoded() { return try write(block, to: output) }
        // The paths do not fit the header, so a pax entry in front of it carries them.
        let records = PaxRecords(path: path, target: target.isEmpty ? nil : target).encoded()
        let pax = TarHeader(
            path: "PaxHeader",
            kind: .paxRecords,
            mode: 0o644,
            contentBytes: records.count,
            target: ""
        )
        let short = TarHeader(path: "long", kind: kind, mode: mode, contentBytes: contentBytes, target: "")
        try write(pax.encoded() ?? [], to: output)
        try write(records, to: output)
        try padding(contentBytes: records.count, to: output)
        try write(short.encoded() ?? [], to: output)
    }

    mutating func content(_ bytes: UnsafeRawBufferPointer, to output: borrowing OpenFile) throws(ArchiveError)
    {
        try deflater.write(bytes) { chunk throws(ArchiveError) in
            try output.write(all: chunk, path: path)
            bytesWritten += chunk.count
        }
    }

    /// Fills the last block of a content.
    mutating func padding(contentBytes: Int, to output: borrowing OpenFile) throws(ArchiveError) {
        let rest = contentBytes % TarHeader.size
        if rest > 0 { try write([UInt8](repeating: 0, count: TarHeader.size - rest), to: output) }
    }

    /// Writes the end mark, two blocks of zeros, and the rest of the compressed data.
    mutating func finish(to output: borrowing OpenFile) throws(ArchiveError) {
        try write([UInt8](repeating: 0, count: 2 * TarHeader.size), to: output)
        try deflater.finish { chunk throws(ArchiveError) in
            try output.write(all: chunk, path: path)
            bytesWritten += chunk.count
        }
    }

    private mutating func write(_ bytes: [UInt8], to output: borrowing OpenFile) throws(ArchiveError) {
        let deflater = deflater
        let path = path
        var count = 0
        try bytes.span.bytes.withUnsafeBytes { buffer throws(ArchiveError) in
            try deflater.write(buffer) { chunk throws(ArchiveError) in
                try output.write(all: chunk, path: path)
                count += chunk.count
            }
        }
        bytesWritten += count
    }
}

extension String {
    /// A folder's path without the slash that URLs put behind it.
    var droppingSlash: String { count > 1 && hasSuffix("/") ? String(dropLast()) : self }
}
