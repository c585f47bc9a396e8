import Glibc

/// Writes the head of a request as the upstream gets it, and of an answer as the client gets it.
enum HeadWriter {
    /// Room that is needed beside the head that came in: our own lines, and what is repeated in them.
    static func room(forHead length: Int, upstream: Upstream) -> Int {
        length * 3 + upstream.addedFields.count + PeerGroup.lineBytes + 1024
    }

    /// Request line with the path alone, Host first, then the client's lines that are not dropped, in runs as they
    /// came, then ours.
    @inline(__always)
    static func writeRequest(
        _ head: borrowing RequestHead,
        _ bytes: Bytes,
        _ table: FieldTable,
        front: Front,
        upstream: Upstream,
        exchange: Exchange,
        hops: Int,
        into writer: inout ByteWriter
    ) {
        writer.put(bytes + head.start, head.methodEnd &- head.start &+ 1)
        if head.pathStart == head.pathEnd {
            writer.put(byte: 0x2F)
        } else {
            writer.put(bytes + head.pathStart, head.pathEnd &- head.pathStart)
        }
        writer.put(" HTTP/1.1\r\nHost: ")
        writer.put(bytes + head.hostStart, head.hostEnd &- head.hostStart)
        writer.put("\r\n")
        putKeptLines(bytes, table, head.fieldCount, end: head.length &- 2, into: &writer)
        if front.peers != nil {
            writeTold(head, bytes, table, front: front, into: &writer)
        } else if front.trustsForwardedFields {
            writeTrusted(head, bytes, table, front: front, into: &writer)
        } else {
            writeForwarded(head, bytes, front: front, into: &writer)
        }
        writer.put("X-Request-Id: ")
        exchange.putRequestID(into: &writer)
        writer.put("\r\n")
        if head.asksForUpgrade {
            let line = table.lines[head.upgradeLine]
            writer.put("Connection: Upgrade\r\nUpgrade: ")
            writer.put(bytes + Int(line.valueStart), Int(line.valueEnd &- line.valueStart))
            writer.put("\r\n")
        }
        if !upstream.addedFields.isEmpty {
            upstream.addedFields.withUnsafeBufferPointer { added in
                if let base = added.baseAddress { writer.put(base, added.count) }
            }
        }
        if let peers = upstream.peers { peers.putLines(hops: hops &+ 1, into: &writer) }
        writer.put("\r\n")
    }

    /// Copies the lines that are not dropped, neighbours at once.
    @inline(__always)
    static func putKeptLines(
        _ bytes: Bytes,
        _ table: FieldTable,
        _ count: Int,
        end: Int,
        into writer: inout ByteWriter
    ) {
        var index = 0
        while index < count {
            if table.lines[index].isDropped {
                index &+= 1
                continue
            }
            let first = Int(table.lines[index].start)
            repeat { index &+= 1 } while index < count && !table.lines[index].isDropped
            let last = index < count ? Int(table.lines[index].start) : end
            writer.put(bytes + first, last &- first)
        }
    }

    @inline(__always)
    private static func writeForwarded(
        _ head: borrowing RequestHead,
        _ bytes: Bytes,
        front: Front,
        into writer: inout ByteWriter
    ) {
        let host = bytes + head.hostStart
        let hostCount = head.hostEnd &- head.hostStart
        writer.put("X-Forwarded-For: ")
        putAddress(front, into: &writer)
        writer.put("\r\nX-Forwarded-Host: ")
        writer.put(host, hostCount)
        if front.isSecure {
            writer.put("\r\nX-Forwarded-Proto: https\r\nForwarded: ")
        } else {
            writer.put("\r\nX-Forwarded-Proto: http\r\nForwarded: ")
        }
        putForwardedElement(front, host, hostCount, into: &writer)
        writer.put("\r\n")
    }

    /// Behind a proxy of our own: what it says stays, and its address is added.
    private static func writeTrusted(
        _ head: borrowing RequestHead,
        _ bytes: Bytes,
        _ table: FieldTable,
        front: Front,
        into writer: inout ByteWriter
    ) {
        writer.put("X-Forwarded-For: ")
        putValues(of: .forwardedFor, bytes, table, head.fieldCount, into: &writer)
        putAddress(front, into: &writer)
        writer.put("\r\nX-Forwarded-Host: ")
        if !putFirstValue(of: .forwardedHost, bytes, table, head.fieldCount, into: &writer) {
            writer.put(bytes + head.hostStart, head.hostEnd - head.hostStart)
        }
        writer.put("\r\nX-Forwarded-Proto: ")
        if !putFirstValue(of: .forwardedProto, bytes, table, head.fieldCount, into: &writer) {
            if front.isSecure { writer.put("https") } else { writer.put("http") }
        }
        writer.put("\r\nForwarded: ")
        putValues(of: .forwarded, bytes, table, head.fieldCount, into: &writer)
        putForwardedElement(front, bytes + head.hostStart, head.hostEnd - head.hostStart, into: &writer)
        writer.put("\r\n")
    }

    /// From a peer: what it says of the client stays as it is, so that an app cannot tell by how many hosts a request
    /// came.
    private static func writeTold(
        _ head: borrowing RequestHead,
        _ bytes: Bytes,
        _ table: FieldTable,
        front: Front,
        into writer: inout ByteWriter
    ) {
        var isTold = false
        for index in 0..<head.fieldCount {
            let line = table.lines[index]
            switch line.kind {
            case .forwardedFor: isTold = true
            case .forwarded, .forwardedHost, .forwardedProto: break
            default: continue
            }
            writer.put(bytes + Int(line.start), Int(line.valueEnd - line.start))
            writer.put("\r\n")
        }
        if !isTold { writeForwarded(head, bytes, front: front, into: &writer) }
    }

    /// RFC 7239: an IPv6 address is quoted and in brackets; a host is quoted because it may have a colon.
    @inline(__always)
    private static func putForwardedElement(
        _ front: Front,
        _ host: Bytes,
        _ hostCount: Int,
        into writer: inout ByteWriter
    ) {
        writer.put("for=")
        if isV6(front) {
            writer.put("\"[")
            putAddress(front, into: &writer)
            writer.put("]\"")
        } else {
            putAddress(front, into: &writer)
        }
        writer.put(";host=\"")
        writer.put(host, hostCount)
        if front.isSecure { writer.put("\";proto=https") } else { writer.put("\";proto=http") }
    }

    private static func isV6(_ front: Front) -> Bool {
        guard let address = front.address else { return false }
        return memchr(address, 0x3A, Int(front.addressCount)) != nil
    }

    @inline(__always)
    static func putAddress(_ front: Front, into writer: inout ByteWriter) {
        if let address = front.address, front.addressCount > 0 {
            writer.put(address, Int(front.addressCount))
        } else {
            writer.put("unknown")
        }
    }

    private static func putValues(
        of kind: FieldKind,
        _ bytes: Bytes,
        _ table: FieldTable,
        _ count: Int,
        into writer: inout ByteWriter
    ) {
        for index in 0..<count where table.lines[index].kind == kind {
            let line = table.lines[index]
            guard line.valueEnd > line.valueStart else { continue }
            writer.put(bytes + Int(line.valueStart), Int(line.valueEnd - line.valueStart))
            writer.put(", ")
        }
    }

    private static func putFirstValue(
        of kind: FieldKind,
        _ bytes: Bytes,
        _ table: FieldTable,
        _ count: Int,
        into writer: inout ByteWriter
    ) -> Bool {
        for index in 0..<count where table.lines[index].kind == kind {
            let line = table.lines[index]
            writer.put(bytes + Int(line.valueStart), Int(line.valueEnd - line.valueStart))
            return true
        }
        return false
    }

    /// Whether an answer's head can go out as it came, and with it everything behind it without a copy.
    @inline(__always)
    static func isUnchanged(_ head: AnswerHead, _ table: FieldTable) -> Bool {
        guard head.minorVersion == 1 else { return false }
        var index = 0
        while index < head.fieldCount {
            if table.lines[index].isDropped { return false }
            index &+= 1
        }
        return true
    }

    static func writeAnswer(
        _ head: AnswerHead,
        _ bytes: Bytes,
        _ table: FieldTable,
        connection: AnswerConnection,
        peerGeneration: Int,
        into writer: inout ByteWriter
    ) {
        writer.put("HTTP/1.1")
        writer.put(bytes + 8, head.statusLineEnd + 2 - 8)
        putKeptLines(bytes, table, head.fieldCount, end: head.length - 2, into: &writer)
        if peerGeneration > 0 { PeerGroup.putGeneration(peerGeneration, into: &writer) }
        switch connection {
        case .keep: break
        case .close: writer.put("Connection: close\r\n")
        case .tellKeep: writer.put("Connection: keep-alive\r\n")
        case .upgrade:
            let line = table.lines[head.upgradeLine]
            writer.put("Connection: Upgrade\r\nUpgrade: ")
            writer.put(bytes + Int(line.valueStart), Int(line.valueEnd - line.valueStart))
            writer.put("\r\n")
        }
        writer.put("\r\n")
    }

    /// What an answer says of the connection.
    enum AnswerConnection {
        case keep
        case close
        case tellKeep
        case upgrade
    }
}
