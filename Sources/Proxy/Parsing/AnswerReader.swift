import CProxy

/// Reads the answers of a proxy's connection, for a front end that speaks another protocol to clients.
package struct AnswerReader {
    package enum Event {
        /// A head; `isFinal` is false for 1xx, but for a 101 that was asked for.
        case head(status: Int, fields: [(name: String, value: String)], isFinal: Bool)
        /// Bytes of the body without its coding; valid during the call alone.
        case data(UnsafeBufferPointer<UInt8>)
        /// The end, with the trailers that there were, their names in lower case.
        case end(trailers: [(name: String, value: String)])
    }

    /// The bytes are not an answer that this proxy could have sent.
    package struct Malformed: Error {}

    private let isHead: Bool
    private let asksForUpgrade: Bool
    /// Trailers, as they came.
    private var trailers: [UInt8] = []
    private let table = FieldTable(capacity: 1000)
    private var pending: [UInt8] = []
    private var body: BodyFraming?
    package private(set) var isComplete = false

    package init(isHead: Bool, asksForUpgrade: Bool = false) {
        self.isHead = isHead
        self.asksForUpgrade = asksForUpgrade
    }

    /// Takes bytes in any division.
    ///
    /// - Throws: ``Malformed``; the connection is of no use then.
    package mutating func read(_ bytes: UnsafeBufferPointer<UInt8>, _ emit: (Event) -> Void) throws(Malformed)
    {
        guard !isComplete else { throw Malformed() }
        if body != nil { return try readBody(bytes, emit) }
        pending.append(contentsOf: bytes)
        while body == nil && !pending.isEmpty {
            var head = AnswerHead()
            let (result, fields) = scan(&head)
            switch result {
            case .incomplete: return
            case .refused: throw Malformed()
            case .complete: break
            }
            pending.removeFirst(head.length)
            let isTunnel = asksForUpgrade && head.status == 101
            emit(.head(status: head.status, fields: fields, isFinal: head.status >= 200 || isTunnel))
            guard head.status >= 200 || isTunnel else { continue }
            let framing = isTunnel ? .untilClose : BodyFraming(answer: head, toHead: isHead)
            body = framing
            if framing.isComplete { return finish(emit) }
        }
        guard !pending.isEmpty else { return }
        let rest = pending
        pending = []
        var failure: Malformed?
        rest.withUnsafeBufferPointer { rest in
            do throws(Malformed) { try readBody(rest, emit) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// The connection has ended: whether the answer is whole.
    package mutating func end(_ emit: (Event) -> Void) -> Bool {
        guard !isComplete else { return true }
        guard body?.end() == true else { return false }
        finish(emit)
        return true
    }

    private func scan(_ head: inout AnswerHead) -> (HeadScan, [(name: String, value: String)]) {
        pending.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return (.incomplete, []) }
            let result = head.scan(base, buffer.count, table: table, maximumBytes: 128 * 1024)
            guard result == .complete else { return (result, []) }
            let fields = (0..<head.fieldCount).compactMap { index -> (name: String, value: String)? in
                let line = table.lines[index]
                if line.isDropped || line.kind == .transferEncoding { return nil }
                return (
                    text(base, Int(line.start), Int(line.nameEnd)).lowercased(),
                    text(base, Int(line.valueStart), Int(line.valueEnd))
                )
            }
            return (result, fields)
        }
    }

    private mutating func readBody(
        _ bytes: UnsafeBufferPointer<UInt8>,
        _ emit: (Event) -> Void
    ) throws(Malformed) {
        guard let base = bytes.baseAddress, var framing = body else { return }
        defer { body = framing }
        if framing.kind == .chunked {
            let data = MutableBytes.allocate(capacity: max(bytes.count, 1))
            defer { data.deallocate() }
            var produced = 0
            var index = framing.decodeData(base, bytes.count, into: data, &produced)
            while index < bytes.count && framing.chunks.isInTrailers {
                trailers.append(base[index])
                var none = 0
                index += framing.decode(base + index, 1, into: data + produced, &none)
            }
            if framing.refusal != nil { throw Malformed() }
            if produced > 0 { emit(.data(UnsafeBufferPointer(start: data, count: produced))) }
        } else {
            let taken = framing.take(base, bytes.count)
            if taken > 0 { emit(.data(UnsafeBufferPointer(start: base, count: taken))) }
        }
        if framing.isComplete { finish(emit) }
    }

    private mutating func finish(_ emit: (Event) -> Void) {
        isComplete = true
        emit(.end(trailers: readTrailers()))
    }

    /// The scanner has found them well-formed.
    private func readTrailers() -> [(name: String, value: String)] {
        String(decoding: trailers, as: UTF8.self).split(separator: "\r\n").compactMap { line in
            guard let colon = line.firstIndex(of: ":") else { return nil }
            var value = line[line.index(after: colon)...]
            while value.first == " " || value.first == "\t" { value.removeFirst() }
            while value.last == " " || value.last == "\t" { value.removeLast() }
            return (line[..<colon].lowercased(), String(value))
        }
    }
}

/// Two connected sockets: one to hand over with ``ProxyServer/adopt(descriptor:client:port:isSecure:)``, one to keep.
package func makeProxyPair() throws -> (proxy: Int32, own: Int32) {
    var pair: [Int32] = [-1, -1]
    let result = cproxy_socket_pair(&pair)
    guard result >= 0 else {
        throw ProxyError(
            code: .system,
            message: "open a connection to the proxy: \(errorText(-result))",
            errorNumber: -result
        )
    }
    return (pair[0], pair[1])
}
