import CProxy

/// Holds answers back until something else is done, such as writing to a replica.
public protocol AnswerGate: Sendable {
    /// Called on a loop's thread when bytes of an answer have arrived, before any of them goes to the client: with
    /// the head, again with each further piece of a body, and with each piece that a tunnel brings.
    func check(_ answer: borrowing GatedAnswer) -> GateDecision
}

/// Whether an answer may pass.
public enum GateDecision: Sendable {
    case pass
    /// The answer waits for ``GateTicket/release(_:)``; nothing more is read from the upstream until then.
    case hold
}

/// What becomes of an answer that was held back.
public enum GateRelease: Sendable {
    case pass
    /// The client gets this in place of the answer.
    ///
    /// Where a part of the answer has already been sent, and in a tunnel, the connection is ended.
    case replace(ReadyAnswer)
}

/// An answer, or a piece of one, at the gate.
///
/// It is valid during the call alone.
public struct GatedAnswer: ~Copyable {
    public enum Stage: Sendable {
        case head
        case body
        case tunnel
    }

    public let app: App
    public let stage: Stage
    /// The answer's status; 101 for a tunnel.
    public let status: Int
    /// Whether the request's method changes nothing (GET, HEAD, OPTIONS, TRACE).
    public let isSafeMethod: Bool

    let bytes: Bytes
    let table: FieldTable
    let fieldCount: Int
    let mailbox: Mailbox
    let key: ConnectionKey
    let serial: UInt64

    /// The value of a header line of the answer, at the stage `head` only.
    public func header(_ name: String) -> String? {
        findField(named: name, bytes, table, fieldCount)
    }

    /// What releases this answer, from any thread, once; later calls do nothing.
    public var ticket: GateTicket { GateTicket(mailbox: mailbox, key: key, serial: serial) }
}

/// The right to let an answer go that a gate has held back.
public struct GateTicket: Sendable {
    let mailbox: Mailbox
    let key: ConnectionKey
    let serial: UInt64

    /// Lets the answer go, or replaces it.
    ///
    /// It is not an error if the client has left in the meantime.
    public func release(_ release: GateRelease) {
        mailbox.send(.release(key, serial: serial, release))
    }
}

/// The value of the first header line with this name, whatever its case.
func findField(named name: String, _ bytes: Bytes, _ table: FieldTable, _ fieldCount: Int) -> String? {
    var name = name
    return name.withUTF8 { wanted -> String? in
        guard let base = wanted.baseAddress else { return nil }
        for index in 0..<fieldCount {
            let line = table.lines[index]
            guard Int(line.nameEnd - line.start) == wanted.count,
                isSameWord(bytes + Int(line.start), base, wanted.count)
            else { continue }
            return text(bytes, Int(line.valueStart), Int(line.valueEnd))
        }
        return nil
    }
}

func text(_ bytes: Bytes, _ start: Int, _ end: Int) -> String {
    String(decoding: UnsafeBufferPointer(start: bytes + start, count: max(end - start, 0)), as: UTF8.self)
}
