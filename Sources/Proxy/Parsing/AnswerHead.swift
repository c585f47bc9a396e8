import CProxy
import Glibc

/// The head of an upstream's answer as positions in its bytes.
struct AnswerHead {
    var length = 0
    var status = 0
    var minorVersion: UInt8 = 1
    /// Where the status line ends, before its CR LF.
    var statusLineEnd = 0
    var contentLength = -1
    var isChunked = false
    var closes = false
    var hasUpgrade = false
    var upgradeLine = -1
    var nominationCount = 0
    var fieldCount = 0

    /// Reads a head at the beginning of the bytes.
    ///
    /// Whatever could be understood in two ways is refused: the client then gets 502 in place of somebody
    /// else's bytes.
    mutating func scan(_ bytes: Bytes, _ count: Int, table: FieldTable, maximumBytes: Int) -> HeadScan {
        self = AnswerHead()
        let result = scanLines(bytes, min(count, maximumBytes), table)
        if result == .incomplete && count >= maximumBytes { return .refused(.headTooLarge) }
        return result
    }

    private mutating func scanLines(_ bytes: Bytes, _ count: Int, _ table: FieldTable) -> HeadScan {
        var position = 0
        let startLine = scanStatusLine(bytes, count, &position)
        guard startLine == .complete else { return startLine }
        while true {
            guard fieldCount < table.capacity || (position < count && bytes[position] == 13) else {
                return position < count ? .refused(.tooManyFields) : .incomplete
            }
            let line = table.lines + min(fieldCount, table.capacity - 1)
            switch scanField(bytes, count, &position, &line.pointee) {
            case .line:
                if let refusal = classify(bytes, line) { return .refused(refusal) }
                fieldCount &+= 1
            case .end:
                length = position
                guard !isChunked || contentLength < 0 else { return .refused(.lengthAndTransferEncoding) }
                if nominationCount > 0 { dropNominated(bytes, table) }
                return .complete
            case .incomplete: return .incomplete
            case .refused(let refusal): return .refused(refusal)
            }
        }
    }

    /// `HTTP/1.1 200 reason`: the reason may be empty, and then its space may be missing too.
    private mutating func scanStatusLine(_ bytes: Bytes, _ count: Int, _ position: inout Int) -> HeadScan {
        guard count >= 13 else {
            let known: StaticString = "HTTP/1."
            let prefix = min(count, 7)
            return memcmp(bytes, known.utf8Start, prefix) == 0 ? .incomplete : .refused(.malformedStartLine)
        }
        guard memcmp(bytes, "HTTP/1.", 7) == 0, bytes[7] &- 0x30 <= 1, bytes[8] == 32 else {
            return .refused(.malformedStartLine)
        }
        minorVersion = bytes[7] &- 0x30
        closes = minorVersion == 0
        for index in 9..<12 {
            guard bytes[index] &- 0x30 < 10 else { return .refused(.malformedStartLine) }
            status = status &* 10 &+ Int(bytes[index] &- 0x30)
        }
        guard status >= 100, status < 600, bytes[12] == 32 || bytes[12] == 13 else {
            return .refused(.malformedStartLine)
        }
        let end = firstControl(bytes, 12, count)
        guard end &+ 1 < count else { return .incomplete }
        guard bytes[end] == 13, bytes[end &+ 1] == 10 else { return .refused(.malformedStartLine) }
        statusLineEnd = end
        position = end &+ 2
        return .complete
    }

    @inline(__always)
    private mutating func classify(_ bytes: Bytes, _ line: UnsafeMutablePointer<FieldLine>) -> Refusal? {
        let start = Int(line.pointee.start)
        let name = bytes + start
        let value = Int(line.pointee.valueStart)
        switch Int(line.pointee.nameEnd) &- start {
        case 7:
            if isWord(name, "upgrade") {
                line.pointee.kind = .upgrade
                line.pointee.isDropped = true
                upgradeLine = fieldCount
            }
        case 10:
            if isWord(name, "connection") { takeConnection(bytes, line) }
            if isWord(name, "keep-alive") { line.pointee.kind = .keepAlive; line.pointee.isDropped = true }
        case 14:
            guard isWord(name, "content-length") else { break }
            line.pointee.kind = .contentLength
            guard contentLength < 0 else { return .severalContentLengths }
            guard let length = parseLength(bytes, value, Int(line.pointee.valueEnd)) else {
                return .malformedContentLength
            }
            contentLength = length
        case 16:
            if isWord(name, "proxy-connection") {
                line.pointee.kind = .proxyConnection
                line.pointee.isDropped = true
            }
        case 17:
            guard isWord(name, "transfer-encoding") else { break }
            line.pointee.kind = .transferEncoding
            guard !isChunked, isWord(bytes + value, Int(line.pointee.valueEnd) &- value, "chunked") else {
                return .unknownTransferEncoding
            }
            isChunked = true
        default: break
        }
        return nil
    }

    private mutating func takeConnection(_ bytes: Bytes, _ line: UnsafeMutablePointer<FieldLine>) {
        line.pointee.kind = .connection
        line.pointee.isDropped = true
        forEachElement(bytes, Int(line.pointee.valueStart), Int(line.pointee.valueEnd)) { first, end in
            let option = bytes + first
            switch end - first {
            case 5 where isWord(option, "close"): closes = true
            case 7 where isWord(option, "upgrade"): hasUpgrade = true
            case 10 where isWord(option, "keep-alive"): if minorVersion == 0 { closes = false }
            default: nominationCount += 1
            }
            return true
        }
    }

    private func dropNominated(_ bytes: Bytes, _ table: FieldTable) {
        for index in 0..<fieldCount where table.lines[index].kind == .connection {
            let connection = table.lines[index]
            forEachElement(bytes, Int(connection.valueStart), Int(connection.valueEnd)) { first, end in
                for other in 0..<fieldCount {
                    let line = table.lines[other]
                    let count = Int(line.nameEnd - line.start)
                    guard count == end - first, isSameWord(bytes + Int(line.start), bytes + first, count),
                        line.kind != .contentLength, line.kind != .transferEncoding
                    else { continue }
                    table.lines[other].isDropped = true
                }
                return true
            }
        }
    }
}
