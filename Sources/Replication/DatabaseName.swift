/// Names of databases as parts of object keys.
///
/// Litestream takes a replica's place as a URL, and reads some characters of it differently for folders and for S3.
/// So keys have only those characters that no URL changes; every other byte is `~` and two hexadecimal digits.
package enum DatabaseName {
    /// The name for a database at `path` below its app's data folder.
    package static func encoded(_ path: String) -> String {
        var out: [UInt8] = []
        let digits = Array("0123456789abcdef".utf8)
        for byte in path.utf8 {
            if isPlain(byte) {
                out.append(byte)
            } else {
                out += [tilde, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: out, as: UTF8.self)
    }

    /// The path that was encoded, or nil when `name` is none that `encoded` gives.
    package static func decoded(_ name: String) -> String? {
        var out: [UInt8] = []
        var rest = name.utf8[...]
        while let byte = rest.popFirst() {
            if byte == tilde {
                guard rest.count >= 2,
                    let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
                else { return nil }
                out.append(value)
                rest = rest.dropFirst(2)
            } else {
                out.append(byte)
            }
        }
        guard let path = String(validating: out, as: UTF8.self), encoded(path) == name else { return nil }
        return path
    }

    /// The name for the replica of the `incarnation`-th database that was made at `path` under an epoch.
    ///
    /// A database that an app removed and made anew is another one: its replica begins anew beside the old one, which
    /// stays. No encoded path holds a tilde and a dot.
    package static func encoded(_ path: String, incarnation: Int) -> String {
        incarnation <= 1 ? encoded(path) : "\(encoded(path))~.\(incarnation)"
    }

    /// The path and the incarnation that were encoded, or nil when `name` is none that `encoded(_:incarnation:)` gives.
    package static func decodedIncarnation(_ name: String) -> (path: String, incarnation: Int)? {
        guard let mark = name.lastIndex(of: "~"), name[mark...].dropFirst().first == "." else {
            return decoded(name).map { ($0, 1) }
        }
        guard let incarnation = Int(name[mark...].dropFirst(2)), incarnation > 1,
            let path = decoded(String(name[..<mark]))
        else { return nil }
        return (path, incarnation)
    }

    private static let tilde = UInt8(ascii: "~")

    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "/"):
            true
        default: false
        }
    }
}
