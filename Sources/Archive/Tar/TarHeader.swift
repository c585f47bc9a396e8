/// One 512-byte header of a tar file: POSIX.1-1988 `ustar`, the pax extensions of POSIX.1-2001 and GNU's long names.
struct TarHeader: Equatable {
    enum Kind: Equatable {
        case file
        case folder
        case symbolicLink
        /// Records for the next entry (pax) as the entry's content.
        case paxRecords
        /// Records for all later entries (pax).
        case paxGlobalRecords
        /// The next entry's path or link target as the content (GNU).
        case gnuLongPath
        case gnuLongTarget
        /// Hard links, devices, pipes, sparse files and whatever else tar knows, by its letter.
        case other(UInt8)
    }

    static let size = 512

    var path: String
    var kind: Kind
    var mode: Int
    var contentBytes: Int
    /// Of a symbolic link.
    var target: String

    /// Writes a `ustar` header with no owner and no time.
    ///
    /// - Returns: Nothing where the path or target is too long for the fields (100 bytes, with up to 155 more in front
    ///   of a slash for the path).
    func encoded() -> [UInt8]? {
        guard let (prefix, name) = Self.split(path), target.utf8.count <= 100 else { return nil }
        var block = [UInt8](repeating: 0, count: Self.size)
        func put(_ text: String, at offset: Int) {
            for (index, byte) in text.utf8.enumerated() { block[offset + index] = byte }
        }
        func octal(_ value: Int, digits: Int) -> String {
            let text = String(value, radix: 8)
            return String(repeating: "0", count: max(0, digits - text.count)) + text
        }
        put(name, at: 0)
        put(octal(mode, digits: 7), at: 100)
        put(octal(0, digits: 7), at: 108)
        put(octal(0, digits: 7), at: 116)
        put(octal(contentBytes, digits: 11), at: 124)
        put(octal(0, digits: 11), at: 136)
        put("        ", at: 148)
        block[156] = letter
        put(target, at: 157)
        put("ustar", at: 257)
        put("00", at: 263)
        put(prefix, at: 345)
        put(octal(block.reduce(0) { $0 + Int($1) }, digits: 6), at: 148)
        block[154] = 0
        return block
    }

    private var letter: UInt8 {
        switch kind {
        case .file: UInt8(ascii: "0")
        case .symbolicLink: UInt8(ascii: "2")
        case .folder: UInt8(ascii: "5")
        case .paxRecords: UInt8(ascii: "x")
        case .paxGlobalRecords: UInt8(ascii: "g")
        case .gnuLongPath: UInt8(ascii: "L")
        case .gnuLongTarget: UInt8(ascii: "K")
        case .other(let letter): letter
        }
    }

    private static func split(_ path: String) -> (prefix: String, name: String)? {
        let bytes = Array(path.utf8)
        if bytes.count <= 100 { return ("", path) }
        for index in bytes.indices where bytes[index] == UInt8(ascii: "/") && index <= 155 {
            let rest = bytes.count - index - 1
            if rest <= 100, rest > 0 {
                return (
                    String(decoding: bytes[..<index], as: UTF8.self),
                    String(decoding: bytes[(index + 1)...], as: UTF8.self)
                )
            }
        }
        return nil
    }
}

extension TarHeader {
    /// Reads a header.
    ///
    /// - Returns: Nothing for a block of zeros, which marks the end.
    /// - Throws: ``ArchiveError`` with code `malformed` when the checksum or a field is wrong.
    static func decode(_ block: UnsafeRawBufferPointer) throws(ArchiveError) -> TarHeader? {
        if block.allSatisfy({ $0 == 0 }) { return nil }
        var sum = 0
        for (index, byte) in block.enumerated() { sum += (148..<156).contains(index) ? 32 : Int(byte) }
        guard number(block[148..<156]) == sum else {
            throw ArchiveError(
                .malformed,
                "this is not a tar file, or a damaged one: a header's checksum is wrong"
            )
        }
        guard let mode = number(block[100..<108]), let size = number(block[124..<136]) else {
            throw ArchiveError(.malformed, "the tar file is damaged: a header's number cannot be read")
        }
        var path = try text(block[0..<100])
        let isPOSIX = block[257..<263].elementsEqual(Array("ustar\0".utf8))
        let prefix = isPOSIX ? try text(block[345..<500]) : ""
        if !prefix.isEmpty { path = prefix + "/" + path }
        let kind: Kind =
            switch block[156] {
            case 0, UInt8(ascii: "0"), UInt8(ascii: "7"): path.hasSuffix("/") ? .folder : .file
            case UInt8(ascii: "2"): .symbolicLink
            case UInt8(ascii: "5"): .folder
            case UInt8(ascii: "x"): .paxRecords
            case UInt8(ascii: "g"): .paxGlobalRecords
            case UInt8(ascii: "L"): .gnuLongPath
            case UInt8(ascii: "K"): .gnuLongTarget
            default: .other(block[156])
            }
        return TarHeader(
            path: path,
            kind: kind,
            mode: mode,
            contentBytes: size,
            target: try text(block[157..<257])
        )
    }

    private static func text(_ field: Slice<UnsafeRawBufferPointer>) throws(ArchiveError) -> String {
        guard let text = String(validating: field.prefix { $0 != 0 }, as: UTF8.self) else {
            throw ArchiveError(.malformed, "a path in the archive is not UTF-8")
        }
        return text
    }

    /// Octal digits with spaces or zeros around them, or GNU's base 256 (first bit set) for sizes of 8 GiB and more.
    private static func number(_ field: Slice<UnsafeRawBufferPointer>) -> Int? {
        if let first = field.first, first & 0x80 != 0 {
            guard first == 0x80 else { return nil }
            var value = 0
            for byte in field.dropFirst() {
                guard value < 1 << 48 else { return nil }
                value = value << 8 | Int(byte)
            }
            return value
        }
        let digits = field.drop { $0 == UInt8(ascii: " ") }.prefix { $0 != 0 && $0 != UInt8(ascii: " ") }
        guard digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "7")).contains($0) }) else { return nil }
        return digits.reduce(0) { $0 << 3 | Int($1 - UInt8(ascii: "0")) }
    }
}
