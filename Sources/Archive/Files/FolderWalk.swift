import Glibc

/// Lists what of a folder goes into an archive, in an order that depends on the names alone.
struct FolderWalk {
    struct Item: Equatable {
        enum Kind: Equatable {
            case file(isExecutable: Bool)
            case symbolicLink(target: String)
        }

        var components: [String]
        var kind: Kind

        var path: String { components.joined(separator: "/") }
    }

    private let root: String
    private let limits: ArchiveLimits
    private var rules = IgnoreRules()
    private(set) var items: [Item] = []
    /// Sockets, pipes and devices, which no archive holds.
    private(set) var specialFiles: [String] = []
    /// Files that look like secrets and were left out by the built-in rules or the folder's own.
    private(set) var leftOutSecrets: [String] = []

    private static let maximumIgnoreFileBytes = 1 << 20

    init(root: String, limits: ArchiveLimits) {
        self.root = root
        self.limits = limits
    }

    /// Walks the folder.
    ///
    /// - Throws: ``ArchiveError`` for what cannot be read, does not fit the limits or leads out.
    mutating func run() throws(ArchiveError) {
        try walk([], rules)
    }

    private mutating func walk(_ folder: [String], _ outer: IgnoreRules) throws(ArchiveError) {
        var rules = outer
        for name in IgnoreRules.fileNames {
            if let text = try ignoreFile(folder + [name]) { rules.add(text, atDepth: folder.count) }
        }
        for name in try names(in: folder) {
            let components = folder + [name]
            var status = stat()
            let path = absolute(components)
            guard lstat(path, &status) == 0 else { throw .system("look at \(path)") }
            let format = status.st_mode & S_IFMT
            guard !rules.ignores(components, isFolder: format == S_IFDIR) else {
                if name == ".env" || name.hasPrefix(".env.") {
                    leftOutSecrets.append(components.joined(separator: "/"))
                }
                continue
            }
            _ = try EntryPath.components(of: components.joined(separator: "/"), limits: limits)
            switch format {
            case S_IFDIR: try walk(components, rules)
            case S_IFREG:
                try append(
                    Item(components: components, kind: .file(isExecutable: status.st_mode & 0o100 != 0))
                )
            case S_IFLNK:
                let target = try target(ofLinkAt: path)
                try EntryPath.checkTarget(target, ofLinkAt: components, limits: limits)
                try append(Item(components: components, kind: .symbolicLink(target: target)))
            default: specialFiles.append(components.joined(separator: "/"))
            }
        }
    }

    private mutating func append(_ item: Item) throws(ArchiveError) {
        guard items.count < limits.entries else {
            throw ArchiveError(
                .tooLarge,
                "\(root) has more than \(limits.entries) files; leave out what the app does not need with .martletignore"
            )
        }
        items.append(item)
    }

    private func absolute(_ components: [String]) -> String {
        ([root] + components).joined(separator: "/")
    }

    private func names(in folder: [String]) throws(ArchiveError) -> [String] {
        let path = absolute(folder)
        guard let stream = opendir(path) else { throw .system("open the folder \(path)") }
        defer { closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                guard errno == 0 else { throw .system("read the folder \(path)") }
                break
            }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(validating: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard let name else {
                throw ArchiveError(
                    .unsafe,
                    "the folder \(path) has a file whose name is not UTF-8; rename it"
                )
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    private func ignoreFile(_ components: [String]) throws(ArchiveError) -> String? {
        let path = absolute(components)
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        guard status.st_size <= Self.maximumIgnoreFileBytes else {
            throw ArchiveError(.tooLarge, "\(path) has more than \(Self.maximumIgnoreFileBytes) bytes")
        }
        let file = try OpenFile(path, O_RDONLY | O_NOFOLLOW)
        let bytes = Buffer(count: Int(status.st_size))
        var count = 0
        while count < bytes.count {
            let read = try file.read(
                into: UnsafeMutableRawBufferPointer(rebasing: bytes.bytes[count...]),
                path: path
            )
            if read == 0 { break }
            count += read
        }
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }

    private func target(ofLinkAt path: String) throws(ArchiveError) -> String {
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = buffer.withUnsafeMutableBytes { bytes in
            bytes.withMemoryRebound(to: CChar.self) { characters in
                characters.baseAddress.map { readlink(path, $0, characters.count) } ?? -1
            }
        }
        guard count >= 0 else { throw .system("read the link \(path)") }
        guard let target = String(validating: buffer[..<count], as: UTF8.self) else {
            throw ArchiveError(.unsafe, "the link \(path) has a target that is not UTF-8")
        }
        return target
    }
}
