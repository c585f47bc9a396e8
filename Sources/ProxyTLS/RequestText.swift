import NIOCore
import NIOHPACK

/// A request of HTTP/2 as the head of one in HTTP/1.1 (RFC 9113 8.3, 8.2.2).
struct RequestText {
    let bytes: ByteBuffer
    let isHead: Bool
    /// The body's length is not known: it is sent in chunks.
    let isChunked: Bool

    /// Nil where the request is malformed, or has a byte that could mean something else in HTTP/1.1.
    init?(_ headers: HPACKHeaders, endsStream: Bool) {
        var method: String?
        var path: String?
        var authority: String?
        var scheme: String?
        var lines = ""
        var hosts = 0
        var lengths = 0
        var cookies: [String] = []
        for (name, value, _) in headers {
            guard Self.isValue(value) else { return nil }
            switch name {
            case ":method":
                guard method == nil else { return nil }
                method = value
            case ":path":
                guard path == nil else { return nil }
                path = value
            case ":authority":
                guard authority == nil else { return nil }
                authority = value
            case ":scheme":
                guard scheme == nil else { return nil }
                scheme = value
            case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
                // Connection-specific: a request with one is malformed.
                return nil
            case "te": if value != "trailers" { return nil }
            case "cookie": cookies.append(value)
            case "host":
                hosts += 1
                if authority == nil {
                    authority = value
                } else if authority?.lowercased() != value.lowercased() {
                    return nil
                }
            default:
                guard Self.isName(name) else { return nil }
                if name == "content-length" { lengths += 1 }
                lines += "\(name): \(value)\r\n"
            }
        }
        guard let method, Self.isToken(method), method != "CONNECT", let path, Self.isTarget(path),
            scheme != nil,
            let authority, !authority.isEmpty, hosts <= 1, lengths <= 1
        else { return nil }
        isHead = method == "HEAD"
        isChunked = !endsStream && lengths == 0
        var text = "\(method) \(path) HTTP/1.1\r\nHost: \(authority)\r\n" + lines
        if !cookies.isEmpty { text += "cookie: \(cookies.joined(separator: "; "))\r\n" }
        if isChunked { text += "transfer-encoding: chunked\r\n" }
        bytes = ByteBuffer(string: text + "\r\n")
    }

    private static func isValue(_ text: String) -> Bool {
        text.utf8.allSatisfy { $0 == 9 || ($0 >= 32 && $0 != 127) }
    }

    /// Lower-case tokens alone: HTTP/2 knows no other names.
    private static func isName(_ text: String) -> Bool {
        isToken(text) && !text.utf8.contains { $0 >= 65 && $0 <= 90 }
    }

    private static func isToken(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 48...57, 65...90, 97...122: true
                default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
                }
            }
    }

    private static func isTarget(_ text: String) -> Bool {
        (text.hasPrefix("/") || text == "*") && text.utf8.allSatisfy { $0 > 32 && $0 < 127 }
    }
}
