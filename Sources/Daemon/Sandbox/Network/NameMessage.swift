/// A message of the domain name system (RFC 1035), as far as it must be understood to filter it.
package struct NameMessage: Sendable {
    package struct Question: Sendable, Equatable {
        /// In lower case, without a dot at its end.
        package var name: String
        package var type: UInt16
    }

    package enum RecordType {
        package static let a: UInt16 = 1
        package static let aaaa: UInt16 = 28
        /// Kinds of question that are answered: addresses, other names, texts, mail and services.
        ///
        /// Not names of addresses (PTR), which tell of the network inside, nor HTTPS, whose records hold addresses as hints.
        static let answered: Set<UInt16> = [1, 2, 5, 6, 15, 16, 28, 33, 257]
    }

    package enum ResponseCode: UInt8 {
        case noError = 0
        case serverFailure = 2
        case noSuchName = 3
        case notImplemented = 4
        case refused = 5
    }

    package enum ParseError: Error { case malformed }

    package let bytes: [UInt8]
    package let question: Question
    package let isResponse: Bool
    package let code: UInt8
    /// Behind the question.
    private let questionEnd: Int
    private let answerCount: Int

    /// Reads a message with one question.
    package init(_ bytes: [UInt8]) throws(ParseError) {
        guard bytes.count >= 12, bytes[4] == 0, bytes[5] == 1, bytes[2] & 0x78 == 0 else { throw .malformed }
        self.bytes = bytes
        isResponse = bytes[2] & 0x80 != 0
        code = bytes[3] & 0x0F
        answerCount = Int(bytes[6]) << 8 | Int(bytes[7])
        var at = 12
        var labels: [String] = []
        while true {
            guard at < bytes.count else { throw .malformed }
            let length = Int(bytes[at])
            if length == 0 { break }
            // A question comes first, so there is nothing yet that it could point to.
            guard length < 64, at + 1 + length < bytes.count, at - 12 + length < 255 else { throw .malformed }
            labels.append(String(decoding: bytes[at + 1...at + length], as: UTF8.self).lowercased())
            at += 1 + length
        }
        guard at + 5 <= bytes.count else { throw .malformed }
        question = Question(name: labels.joined(separator: "."), type: Self.number(bytes, at + 1))
        questionEnd = at + 5
    }

    package var id: UInt16 { Self.number(bytes, 0) }

    /// The same message under another number.
    package func with(id: UInt16) -> [UInt8] {
        var copy = bytes
        copy[0] = UInt8(id >> 8)
        copy[1] = UInt8(id & 0xFF)
        return copy
    }

    package struct Record: Sendable, Equatable {
        package var address: IPAddress
        /// How long it may be kept, in seconds.
        package var seconds: Int
    }

    /// The addresses among the answers.
    package func addresses() throws(ParseError) -> [Record] {
        var found: [Record] = []
        var at = questionEnd
        for _ in 0..<answerCount {
            at = try Self.skipName(bytes, at)
            guard at + 10 <= bytes.count else { throw .malformed }
            let (type, length) = (Self.number(bytes, at), Int(Self.number(bytes, at + 8)))
            let seconds = Int(Self.number(bytes, at + 4)) << 16 | Int(Self.number(bytes, at + 6))
            at += 10
            guard at + length <= bytes.count else { throw .malformed }
            if type == RecordType.a || type == RecordType.aaaa {
                guard length == (type == RecordType.a ? 4 : 16),
                    let address = IPAddress(bytes: bytes[at..<at + length])
                else { throw .malformed }
                found.append(Record(address: address, seconds: seconds))
            }
            at += length
        }
        return found
    }

    /// An answer to this question without any record.
    package func answer(_ code: ResponseCode) -> [UInt8] {
        var answer = Array(bytes[..<questionEnd])
        // A response; recursion as it was asked for, and available.
        answer[2] = 0x80 | (bytes[2] & 0x01)
        answer[3] = 0x80 | code.rawValue
        for index in 6..<12 { answer[index] = 0 }
        return answer
    }

    private static func number(_ bytes: [UInt8], _ at: Int) -> UInt16 {
        UInt16(bytes[at]) << 8 | UInt16(bytes[at + 1])
    }

    private static func skipName(_ bytes: [UInt8], _ start: Int) throws(ParseError) -> Int {
        var at = start
        while at < bytes.count {
            let length = Int(bytes[at])
            if length == 0 { return at + 1 }
            if length & 0xC0 == 0xC0 { return at + 2 }
            guard length < 64 else { throw .malformed }
            at += 1 + length
        }
        throw .malformed
    }
}

/// Decides what a worker is answered.
package struct NameFilter: Sendable {
    package var policy: NamePolicy
    package var rules: AddressRules

    package init(policy: NamePolicy, rules: AddressRules) {
        self.policy = policy
        self.rules = rules
    }

    package enum QuestionVerdict: Sendable, Equatable {
        case ask
        /// `reason`: for the app's log; nil where it is nobody's fault.
        case answer(NameMessage.ResponseCode, reason: String?)
    }

    package func judge(_ question: NameMessage.Question) -> QuestionVerdict {
        guard NameMessage.RecordType.answered.contains(question.type) else {
            return .answer(.notImplemented, reason: nil)
        }
        guard policy.allows(question.name) else {
            return .answer(
                .noSuchName,
                reason: "\(question.name) is not among the names of \"network\" in martlet.json"
            )
        }
        return .ask
    }

    package enum AnswerVerdict: Sendable, Equatable {
        /// The answer may pass once these addresses are allowed.
        case pass([NameMessage.Record])
        case drop(reason: String)
    }

    package func judge(answer: NameMessage, to question: NameMessage.Question) -> AnswerVerdict {
        guard answer.isResponse, answer.question == question, let records = try? answer.addresses() else {
            return .drop(reason: "the resolver's answer for \(question.name) is malformed")
        }
        if let bad = records.first(where: { !rules.allows($0.address) }) {
            return .drop(
                reason: "\(question.name) is \(bad.address), which is not an address of the public internet; "
                    + "apps cannot reach it"
            )
        }
        return .pass(records)
    }
}
