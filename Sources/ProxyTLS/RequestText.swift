import NIOCore
import NIOHPACK
import Proxy

/// A request of HTTP/2 as the head of one in HTTP/1.1 (RFC 9113 8.3, 8.2.2).
struct RequestText {
    let bytes: ByteBuffer
    let isHead: Bool
    /// The body's length is not known: it is sent in chunks.
    let isChunked: Bool
    /// A WebSocket (RFC 8441): what follows are its bytes in both directions.
    let isTunnel: Bool

    /// Nil where the request is malformed, or has a byte that could mean something else in HTTP/1.1.
    init?(_ headers: HPACKHeaders, endsStream: Bool) {
        var method: String?
        var path: String?
        var authority: String?
        var scheme: String?
        var protocolName: String?
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
            case ":protocol":
                guard protocolName == nil else { return nil }
                protocolName = value
            case "sec-websocket-key" where protocolName != nil: break
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
        // An extended CONNECT asks for a WebSocket, and nothing else is tunnelled.
        isTunnel = protocolName != nil
        guard protocolName == nil || (protocolName == "websocket" && method == "CONNECT" && !endsStream)
        else {
            return nil
        }
        if isTunnel {
            method = "GET"
            lines += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: \(Self.makeKey())\r\n"
        }
        guard let method, Self.isToken(method), method != "CONNECT", let path, Self.isTarget(path),
            scheme != nil,
            let authority, !authority.isEmpty, hosts <= 1, lengths <= (isTunnel ? 0 : 1)
        else { return nil }
        isHead = method == "HEAD"
        isChunked = !endsStream && lengths == 0 && !isTunnel
        var text = "\(method) \(path) HTTP/1.1\r\nHost: \(authority)\r\n" + lines
        if !cookies.isEmpty { text += "cookie: \(cookies.joined(separator: "; "))\r\n" }
        if isChunked { text += "transfer-encoding: chunked\r\n" }
        bytes = ByteBuffer(string: text + "\r\n")
    }

    /// Trailers as lines of HTTP/1.1, without those that may only stand in a head; nil where one is malformed.
    static func trailers(_ headers: HPACKHeaders) -> String? {
        var lines = ""
        for (name, value, _) in headers {
            guard isName(name), isValue(value) else { return nil }
            if !isForbiddenInTrailer(name) { lines += "\(name): \(value)\r\n" }
        }
        // More than the proxy takes is left out rather than refused, as the body is whole.
        return lines.utf8.count <= 8000 ? lines : ""
    }

    /// 16 random bytes in base64 (RFC 6455 4.1): HTTP/2 has no key, but the app expects one.
    private static func makeKey() -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        // 21 digits are 126 bits; the last carries two bits.
        var key = (0..<21).map { _ in alphabet[Int.random(in: 0..<64)] }
        key.append(alphabet[Int.random(in: 0..<4) * 16])
        return String(decoding: key, as: UTF8.self) + "=="
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
