@testable import Proxy

/// A second reading of the rules, written for clearness alone: line by line, with copies, no positions.
enum ReferenceParser {
    enum Verdict: Equatable {
        case incomplete
        case refused
        case complete(
            length: Int,
            method: String,
            path: String,
            host: String,
            contentLength: Int?,
            isChunked: Bool
        )
    }

    private static let tokens = Set(
        "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8
    )

    /// Judges complete heads only: whether a head that is not at its end will be refused is left open.
    static func request(_ bytes: [UInt8]) -> Verdict {
        var rest = bytes[...]
        for _ in 0..<2 where rest.starts(with: [13, 10]) { rest = rest.dropFirst(2) }
        var lines: [[UInt8]] = []
        while true {
            guard let end = rest.firstIndex(of: 10) else { return .incomplete }
            guard end > rest.startIndex, rest[end - 1] == 13 else { return .refused }
            let line = Array(rest[rest.startIndex..<end - 1])
            rest = rest[(end + 1)...]
            if line.isEmpty { break }
            lines.append(line)
        }
        guard let first = lines.first else { return .refused }
        let length = rest.startIndex
        let parts = first.split(separator: 32, omittingEmptySubsequences: false).map(Array.init)
        guard parts.count == 3, !parts[0].isEmpty, parts[0].count <= 32, parts[0].allSatisfy(tokens.contains)
        else {
            return .refused
        }
        let method = String(decoding: parts[0], as: UTF8.self)
        let isVersion10 = parts[2] == Array("HTTP/1.0".utf8)
        guard isVersion10 || parts[2] == Array("HTTP/1.1".utf8), method != "CONNECT" else { return .refused }
        guard !parts[1].isEmpty, parts[1].allSatisfy({ $0 > 32 && $0 < 127 && $0 != 35 }) else {
            return .refused
        }
        let target = String(decoding: parts[1], as: UTF8.self)
        var path = target
        var targetHost: String?
        if target == "*" {
            guard method == "OPTIONS" else { return .refused }
        } else if !target.hasPrefix("/") {
            let lower = target.lowercased()
            guard let scheme = ["http://", "https://"].first(where: lower.hasPrefix) else { return .refused }
            let after = target.dropFirst(scheme.count)
            let slash = after.firstIndex(where: { $0 == "/" || $0 == "?" }) ?? after.endIndex
            if slash < after.endIndex, after[slash] == "?" { return .refused }
            targetHost = String(after[..<slash])
            path = slash == after.endIndex ? "/" : String(after[slash...])
            guard isHost(targetHost ?? "") else { return .refused }
        }
        var fields: [(String, [UInt8])] = []
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: 58), colon > 0, line[..<colon].allSatisfy(tokens.contains)
            else {
                return .refused
            }
            guard line[colon...].allSatisfy({ $0 == 9 || ($0 >= 32 && $0 != 127) }) else { return .refused }
            var value = line[(colon + 1)...]
            while let byte = value.first, byte == 32 || byte == 9 { value = value.dropFirst() }
            while let byte = value.last, byte == 32 || byte == 9 { value = value.dropLast() }
            fields.append((String(decoding: line[..<colon], as: UTF8.self).lowercased(), Array(value)))
        }
        guard fields.count <= 100 else { return .refused }
        guard !fields.contains(where: { ["content_length", "transfer_encoding"].contains($0.0) }) else {
            return .refused
        }
        func values(_ name: String) -> [String] {
            fields.filter { $0.0 == name }.map { String(decoding: $0.1, as: UTF8.self) }
        }
        let hosts = values("host")
        guard hosts.count == 1, isHost(hosts[0]) else { return .refused }
        if let targetHost, targetHost.lowercased() != hosts[0].lowercased() { return .refused }
        let lengths = values("content-length")
        guard lengths.count <= 1, lengths.allSatisfy({ isNumber($0) && $0.utf8.count <= 18 }) else {
            return .refused
        }
        let codings = values("transfer-encoding")
        guard codings.count <= 1, codings.allSatisfy({ $0.lowercased() == "chunked" }) else {
            return .refused
        }
        guard codings.isEmpty || (lengths.isEmpty && !isVersion10) else { return .refused }
        guard values("expect").allSatisfy({ $0.lowercased() == "100-continue" }) else { return .refused }
        let nominated = values("connection").flatMap { $0.split(separator: ",") }.map {
            $0.lowercased().filter { $0 != " " && $0 != "\t" }
        }
        for name in nominated
        where ["host", "content-length", "transfer-encoding"].contains(name) && !values(name).isEmpty {
            return .refused
        }
        return .complete(
            length: length,
            method: method,
            path: path,
            host: targetHost ?? hosts[0],
            contentLength: lengths.first.flatMap { Int($0) },
            isChunked: !codings.isEmpty
        )
    }

    private static func isNumber(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { $0 >= 48 && $0 <= 57 }
    }

    private static func isHost(_ text: String) -> Bool {
        guard !text.isEmpty, text.utf8.count <= 262 else { return false }
        var name = text[...]
        if name.hasPrefix("[") {
            guard let end = name.firstIndex(of: "]") else { return false }
            let inside = name[name.index(after: name.startIndex)..<end]
            guard !inside.isEmpty, inside.utf8.allSatisfy({ "0123456789abcdefABCDEF:.".utf8.contains($0) }),
                inside.utf8.count >= 1
            else { return false }
            guard text[...end].utf8.count >= 4 || inside.utf8.count >= 2 else { return false }
            name = name[name.index(after: end)...]
            if name.isEmpty { return true }
            guard name.hasPrefix(":") else { return false }
            return isPort(name.dropFirst())
        }
        let colon = name.firstIndex(of: ":") ?? name.endIndex
        let host = name[..<colon]
        let allowed = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._".utf8
        guard !host.isEmpty, host.utf8.allSatisfy({ allowed.contains($0) }) else { return false }
        return colon == name.endIndex || isPort(name[name.index(after: colon)...])
    }

    private static func isPort(_ text: Substring) -> Bool {
        text.utf8.count <= 5 && text.utf8.allSatisfy { $0 >= 48 && $0 <= 57 }
    }

    /// The data of a chunked body and the bytes it takes; nil where it is not valid, and (nil, …) where it is not whole.
    static func chunks(_ bytes: [UInt8]) -> (isRefused: Bool, length: Int?, data: [UInt8]) {
        var position = 0
        var data: [UInt8] = []
        func line(_ limit: Int) -> [UInt8]?? {
            // nil: not whole; .some(nil): malformed.
            var index = position
            while index < bytes.count {
                if bytes[index] == 13 {
                    guard index + 1 < bytes.count else { return nil }
                    guard bytes[index + 1] == 10 else { return .some(nil) }
                    defer { position = index + 2 }
                    return Array(bytes[position..<index])
                }
                if bytes[index] == 10 { return .some(nil) }
                index += 1
            }
            return nil
        }
        while true {
            guard let found = line(300) else { return (false, nil, data) }
            guard let text = found else { return (true, nil, data) }
            let parts = text.split(separator: 59, maxSplits: 1, omittingEmptySubsequences: false)
            let digits = parts.first ?? []
            guard !digits.isEmpty, digits.count <= 15,
                let size = Int(String(decoding: digits, as: UTF8.self), radix: 16),
                digits.allSatisfy({ "0123456789abcdefABCDEF".utf8.contains($0) })
            else { return (true, nil, data) }
            if parts.count == 2 {
                guard parts[1].count <= 255, parts[1].allSatisfy({ $0 == 9 || ($0 >= 32 && $0 < 127) }) else {
                    return (true, nil, data)
                }
            }
            if size == 0 { break }
            guard position + size <= bytes.count else { return (false, nil, data) }
            data += bytes[position..<position + size]
            position += size
            guard position + 1 < bytes.count else { return (false, nil, data) }
            guard bytes[position] == 13, bytes[position + 1] == 10 else { return (true, nil, data) }
            position += 2
        }
        while true {
            guard let found = line(8192) else { return (false, nil, data) }
            guard let text = found else { return (true, nil, data) }
            if text.isEmpty { return (false, position, data) }
            guard let colon = text.firstIndex(of: 58), colon > 0, text[..<colon].allSatisfy(tokens.contains),
                text[colon...].allSatisfy({ $0 == 9 || ($0 >= 32 && $0 != 127) })
            else { return (true, nil, data) }
            let name = String(decoding: text[..<colon], as: UTF8.self).lowercased()
            let forbidden = [
                "transfer-encoding", "content-length", "host", "connection", "keep-alive", "proxy-connection",
                "te",
                "trailer", "upgrade", "expect", "content-encoding", "content-type", "content-range",
                "authorization",
                "cookie", "set-cookie", "forwarded", "x-forwarded-for", "x-forwarded-host",
                "x-forwarded-proto",
                "x-real-ip", "x-request-id",
            ]
            if forbidden.contains(name) { return (true, nil, data) }
        }
    }
}

/// Numbers from a seed (splitmix64).
struct SeededNumbers: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
