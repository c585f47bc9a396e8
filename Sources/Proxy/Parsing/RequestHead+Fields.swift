import CProxy
import Glibc

extension RequestHead {
    /// Looks at one header line: framing is checked, lines that end at the proxy are dropped.
    @inline(__always)
    mutating func classify(_ bytes: Bytes, _ line: UnsafeMutablePointer<FieldLine>) -> Refusal? {
        let start = Int(line.pointee.start)
        let name = bytes + start
        switch Int(line.pointee.nameEnd) &- start {
        case 2: if isWord(name, "te") { line.pointee.kind = .te; line.pointee.isDropped = true }
        case 4: if isWord(name, "host") { return takeHost(bytes, line) }
        case 6: if isWord(name, "expect") { return takeExpect(bytes, line) }
        case 7:
            if isWord(name, "upgrade") {
                line.pointee.kind = .upgrade
                line.pointee.isDropped = true
                // Several Upgrade lines are never needed: without one of them nothing is upgraded.
                upgradeLine = upgradeLine == -1 ? fieldCount : -2
            }
        case 9:
            if isWord(name, "forwarded") { line.pointee.kind = .forwarded; line.pointee.isDropped = true }
            if isWord(name, "x-real-ip") {
                line.pointee.kind = .forwardedOther; line.pointee.isDropped = true
            }
            if isWord(name, "peer-hops") { line.pointee.kind = .peerHops; line.pointee.isDropped = true }
        case 10:
            if isWord(name, "connection") { takeConnection(bytes, line) }
            if isWord(name, "keep-alive") { line.pointee.kind = .keepAlive; line.pointee.isDropped = true }
        case 12: if isWord(name, "x-request-id") { takeRequestID(bytes, line) }
        case 14:
            if isWord(name, "content-length") { return takeLength(bytes, line) }
            // Some servers take '_' for '-': a length or coding in disguise is not passed on.
            if isWord(name, "content_length") { return .malformedFieldName }
            if isWord(name, "http2-settings") {
                line.pointee.kind = .http2Settings; line.pointee.isDropped = true
            }
        case 15:
            if isWord(name, "x-forwarded-for") {
                line.pointee.kind = .forwardedFor; line.pointee.isDropped = true
            } else if isWord(name, "peer-generation") {
                line.pointee.kind = .peerGeneration; line.pointee.isDropped = true
            }
        case 16:
            if isWord(name, "x-forwarded-") {
                if isWord(name + 12, "host") {
                    line.pointee.kind = .forwardedHost; line.pointee.isDropped = true
                }
                if isWord(name + 12, "port") {
                    line.pointee.kind = .forwardedOther; line.pointee.isDropped = true
                }
            } else if isWord(name, "proxy-connection") {
                line.pointee.kind = .proxyConnection
                line.pointee.isDropped = true
            }
        case 17:
            if isWord(name, "transfer-encoding") { return takeTransferEncoding(bytes, line) }
            if isWord(name, "transfer_encoding") { return .malformedFieldName }
            if isWord(name, "x-forwarded-proto") {
                line.pointee.kind = .forwardedProto
                line.pointee.isDropped = true
            }
        case 18, 19, 20:
            if isWord(name, "x-forwarded-") {
                line.pointee.kind = .forwardedOther
                line.pointee.isDropped = true
            } else if line.pointee.nameEnd &- line.pointee.start == 18, isWord(name, "peer-authorization") {
                line.pointee.kind = .peerAuthorization
                line.pointee.isDropped = true
            }
        default: break
        }
        return nil
    }

    @inline(__always)
    private mutating func takeHost(_ bytes: Bytes, _ line: UnsafeMutablePointer<FieldLine>) -> Refusal? {
        line.pointee.kind = .host
        line.pointee.isDropped = true
        hostCount &+= 1
        guard hostCount == 1 else { return .severalHosts }
        let first = Int(line.pointee.valueStart)
        let end = Int(line.pointee.valueEnd)
        guard let nameEnd = scanHost(bytes, first, end) else { return .malformedHost }
        if hostEnd > 0 {
            // The target named a host already (RFC 9112 3.2.2): the two must agree.
            guard hostEnd &- hostStart == end &- first,
                isSameWord(bytes + hostStart, bytes + first, end &- first)
            else { return .hostAndTargetDiffer }
            return nil
        }
        hostStart = first
        hostEnd = end
        hostNameEnd = nameEnd
        return nil
    }

    private mutating func takeExpect(_ bytes: Bytes, _ line: UnsafeMutablePointer<FieldLine>) -> Refusal? {
        line.pointee.kind = .expect
        let start = Int(line.pointee.valueStart)
        guard isWord(bytes + start, Int(line.pointee.valueEnd) - start, "100-continue") else {
            return .unknownExpectation
        }
        // RFC 9110 10.1.1: an HTTP/1.0 client's expectation is ignored.
        line.pointee.isDropped = minorVersion == 0
        return nil
    }

    private mutating func takeRequestID(_ bytes: Bytes, _ line: UnsafeMutablePointer<FieldLine>) {
        line.pointee.kind = .requestID
        line.pointee.isDropped = true
        let first = Int(line.pointee.valueStart)
        let end = Int(line.pointee.valueEnd)
        guard end > first, end - first <= 128, requestIDLine == -1 else { return requestIDLine = -2 }
        for index in first..<end where !isClass(bytes[index], CPROXY_IDENTIFIER) { return requestIDLine = -2 }
        requestIDLine = fieldCount
    }

    @inline(__always)
    private mutating func takeLength(_ bytes: Bytes, _ line: UnsafeMutablePointer<FieldLine>) -> Refusal? {
        line.pointee.kind = .contentLength
        guard contentLength < 0 else { return .severalContentLengths }
        guard let length = parseLength(bytes, Int(line.pointee.valueStart), Int(line.pointee.valueEnd)) else {
            return .malformedContentLength
        }
        contentLength = length
        return nil
    }

    private mutating func takeTransferEncoding(
        _ bytes: Bytes,
        _ line: UnsafeMutablePointer<FieldLine>
    ) -> Refusal? {
        line.pointee.kind = .transferEncoding
        guard !isChunked else { return .malformedTransferEncoding }
        let start = Int(line.pointee.valueStart)
        guard isWord(bytes + start, Int(line.pointee.valueEnd) - start, "chunked") else {
            return .unknownTransferEncoding
        }
        isChunked = true
        return nil
    }

    private mutating func takeConnection(_ bytes: Bytes, _ line: UnsafeMutablePointer<FieldLine>) {
        line.pointee.kind = .connection
        line.pointee.isDropped = true
        forEachElement(bytes, Int(line.pointee.valueStart), Int(line.pointee.valueEnd)) { first, end in
            let option = bytes + first
            switch end - first {
            case 5 where isWord(option, "close"): closes = true
            case 7 where isWord(option, "upgrade"): nominatesUpgrade = true
            case 10 where isWord(option, "keep-alive"): keepsAlive = true
            case 2 where isWord(option, "te"): break
            default: nominationCount += 1
            }
            return true
        }
    }

    /// Drops the lines that Connection names (RFC 9110 7.6.1).
    ///
    /// Framing and routing may not be taken away so.
    mutating func dropNominated(_ bytes: Bytes, _ table: FieldTable) -> Refusal? {
        var refusal: Refusal?
        for index in 0..<fieldCount where table.lines[index].kind == .connection {
            let connection = table.lines[index]
            forEachElement(bytes, Int(connection.valueStart), Int(connection.valueEnd)) { first, end in
                for other in 0..<fieldCount {
                    let line = table.lines[other]
                    let count = Int(line.nameEnd - line.start)
                    guard count == end - first, isSameWord(bytes + Int(line.start), bytes + first, count)
                    else {
                        continue
                    }
                    switch line.kind {
                    case .host, .contentLength, .transferEncoding: refusal = .nominatedFramingField
                    case .upgrade: break
                    default: table.lines[other].isDropped = true
                    }
                }
                return refusal == nil
            }
        }
        return refusal
    }

    /// Decides whether the request may become a tunnel.
    ///
    /// Protocols that would carry further HTTP requests past the routing (h2c, TLS) are not passed on, nor is an
    /// upgrade of a request with a body. RFC 9110 7.8: Upgrade counts only when Connection names it.
    mutating func settleUpgrade(_ bytes: Bytes, _ table: FieldTable) {
        guard upgradeLine != -1 else { return }
        guard upgradeLine >= 0, nominatesUpgrade, minorVersion == 1, !hasBody, method != .head else {
            upgradeLine = -1
            return
        }
        let line = table.lines[upgradeLine]
        var isAllowed = line.valueEnd > line.valueStart
        forEachElement(bytes, Int(line.valueStart), Int(line.valueEnd)) { first, end in
            let word = bytes + first
            let count = end - first
            if (count >= 3 && isWord(word, "h2c")) || (count >= 4 && isWord(word, "http"))
                || (count >= 3 && isWord(word, "tls")) || (count == 2 && isWord(word, "h2"))
            {
                isAllowed = false
            }
            return isAllowed
        }
        if !isAllowed { upgradeLine = -1 }
    }
}

/// Where the name of `name[:port]` ends, or nil when it is not a host (RFC 9110 7.2).
///
/// A name has letters, digits, hyphens, dots and underscores; an IPv6 address stands in brackets.
@inline(__always)
func scanHost(_ bytes: Bytes, _ start: Int, _ end: Int) -> Int? {
    guard end > start, end &- start <= 262 else { return nil }
    var index = start
    if bytes[index] == 0x5B {
        index &+= 1
        while index < end
            && (isClass(bytes[index], CPROXY_HEX) || bytes[index] == 0x3A || bytes[index] == 0x2E)
        {
            index &+= 1
        }
        guard index < end, bytes[index] == 0x5D, index &- start >= 3 else { return nil }
        index &+= 1
    } else {
        while index < end && isClass(bytes[index], CPROXY_NAME) { index &+= 1 }
        guard index > start else { return nil }
    }
    let nameEnd = index
    guard index < end else { return nameEnd }
    guard bytes[index] == 0x3A else { return nil }
    index &+= 1
    guard end &- index <= 5 else { return nil }
    while index < end {
        guard bytes[index] &- 0x30 < 10 else { return nil }
        index &+= 1
    }
    return nameEnd
}
