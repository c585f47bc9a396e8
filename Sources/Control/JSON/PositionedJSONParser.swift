/// Reads JSON as people write it by hand: RFC 8259 with comments (`//`, `/* */`) and trailing commas.
///
/// Duplicate keys are errors, as one of the two would be ignored silently.
package struct PositionedJSONParser {
    private let scalars: [Unicode.Scalar]
    private var index = 0
    private var position = TextPosition(line: 1, column: 1)
    private var depth = 0

    private static let maximumDepth = 64

    /// Parses a whole text.
    ///
    /// - Throws: ``JSONSyntaxError`` at the first place that is not JSON.
    package static func parse(_ text: String) throws(JSONSyntaxError) -> PositionedJSON {
        var parser = Self(text)
        try parser.skipSpace()
        let value = try parser.value()
        try parser.skipSpace()
        if let next = parser.peek {
            throw parser.error("expected the end of the file after the value, found \(Self.name(next))")
        }
        return value
    }

    private init(_ text: String) {
        var scalars = Array(text.unicodeScalars)
        if scalars.first == "\u{FEFF}" { scalars.removeFirst() }
        self.scalars = scalars
    }

    private var peek: Unicode.Scalar? { index < scalars.count ? scalars[index] : nil }

    private var peekSecond: Unicode.Scalar? { index + 1 < scalars.count ? scalars[index + 1] : nil }

    private mutating func advance() {
        if scalars[index] == "\n" {
            position = TextPosition(line: position.line + 1, column: 1)
        } else {
            position.column += 1
        }
        index += 1
    }

    private func error(_ message: String, at place: TextPosition? = nil) -> JSONSyntaxError {
        JSONSyntaxError(position: place ?? position, message: message)
    }

    private static func name(_ scalar: Unicode.Scalar?) -> String {
        guard let scalar else { return "the end of the file" }
        return scalar == "\n" ? "the end of the line" : "\"\(scalar)\""
    }

    private mutating func skipSpace() throws(JSONSyntaxError) {
        while let next = peek {
            switch next {
            case " ", "\t", "\n", "\r":
                advance()
            case "/" where peekSecond == "/":
                while let scalar = peek, scalar != "\n" {
                    _ = scalar
                    advance()
                }
            case "/" where peekSecond == "*":
                let start = position
                advance()
                advance()
                while !(peek == "*" && peekSecond == "/") {
                    guard peek != nil else {
                        throw error("this comment has no end: */ is missing", at: start)
                    }
                    advance()
                }
                advance()
                advance()
            default:
                return
            }
        }
    }

    private mutating func value() throws(JSONSyntaxError) -> PositionedJSON {
        let start = position
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.maximumDepth else {
            throw error("values are nested more than \(Self.maximumDepth) deep")
        }
        switch peek {
        case "{": return PositionedJSON(.object(try members()), at: start)
        case "[": return PositionedJSON(.array(try elements()), at: start)
        case "\"": return PositionedJSON(.string(try string()), at: start)
        case let next? where next == "-" || isDigit(next):
            return PositionedJSON(.number(try number()), at: start)
        case let next? where next.properties.isAlphabetic: return PositionedJSON(try literal(), at: start)
        case "'": throw error("expected a value, found ': strings stand in double quotes")
        default: throw error("expected a value, found \(Self.name(peek))")
        }
    }

    private mutating func members() throws(JSONSyntaxError) -> [PositionedJSON.Member] {
        let start = position
        var members: [PositionedJSON.Member] = []
        advance()
        while true {
            try skipSpace()
            if peek == "}" {
                advance()
                return members
            }
            guard peek == "\"" else {
                guard peek != nil else { throw error("this object has no end: } is missing", at: start) }
                throw error("expected a key in double quotes or }, found \(Self.name(peek))")
            }
            let place = position
            let key = try string()
            if let earlier = members.first(where: { $0.key == key }) {
                throw error(
                    "\"\(key)\" stands twice; the first is on line \(earlier.position.line)",
                    at: place
                )
            }
            try skipSpace()
            guard peek == ":" else {
                throw error("expected : after the key \"\(key)\", found \(Self.name(peek))")
            }
            advance()
            try skipSpace()
            members.append(PositionedJSON.Member(key: key, position: place, value: try value()))
            try separator(before: "}", in: "object", since: start)
        }
    }

    private mutating func elements() throws(JSONSyntaxError) -> [PositionedJSON] {
        let start = position
        var elements: [PositionedJSON] = []
        advance()
        while true {
            try skipSpace()
            if peek == "]" {
                advance()
                return elements
            }
            guard peek != nil else { throw error("this array has no end: ] is missing", at: start) }
            elements.append(try value())
            try separator(before: "]", in: "array", since: start)
        }
    }

    /// Takes the comma, if there is one; without it the closing bracket has to follow.
    private mutating func separator(
        before end: Unicode.Scalar,
        in kind: String,
        since start: TextPosition
    ) throws(JSONSyntaxError) {
        let place = position
        try skipSpace()
        switch peek {
        case ",": advance()
        case end: break
        case nil: throw error("this \(kind) has no end: \(end) is missing", at: start)
        // The comma belongs behind the value before, which may be lines above.
        default: throw error("expected , or \(end) here, found \(Self.name(peek))", at: place)
        }
    }

    private mutating func string() throws(JSONSyntaxError) -> String {
        let start = position
        var result = String.UnicodeScalarView()
        advance()
        while let next = peek {
            switch next {
            case "\"":
                advance()
                return String(result)
            case "\\":
                result.append(try escape())
            case "\n":
                throw error("this string has no end on its line: \" is missing", at: start)
            case let control where control.value < 0x20:
                throw error("a control character in a string is written as \\u followed by four digits")
            default:
                result.append(next)
                advance()
            }
        }
        throw error("this string has no end: \" is missing", at: start)
    }

    private mutating func escape() throws(JSONSyntaxError) -> Unicode.Scalar {
        let start = position
        advance()
        guard let kind = peek else { throw error("this string has no end", at: start) }
        advance()
        switch kind {
        case "\"", "\\", "/": return kind
        case "b": return "\u{08}"
        case "f": return "\u{0C}"
        case "n": return "\n"
        case "r": return "\r"
        case "t": return "\t"
        case "u": return try unicodeEscape(start)
        default: throw error("\\\(kind) is no escape; a backslash itself is written \\\\", at: start)
        }
    }

    private mutating func unicodeEscape(_ start: TextPosition) throws(JSONSyntaxError) -> Unicode.Scalar {
        let first = try hexadecimal(start)
        if let scalar = Unicode.Scalar(first) { return scalar }
        guard (0xD800..<0xDC00).contains(first), peek == "\\", peekSecond == "u" else {
            throw error("half of a surrogate pair stands alone", at: start)
        }
        advance()
        advance()
        let second = try hexadecimal(start)
        let combined = 0x10000 + ((first - 0xD800) << 10) + (second &- 0xDC00)
        guard (0xDC00..<0xE000).contains(second), let scalar = Unicode.Scalar(combined) else {
            throw error("half of a surrogate pair stands alone", at: start)
        }
        return scalar
    }

    private mutating func hexadecimal(_ start: TextPosition) throws(JSONSyntaxError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let next = peek, next.isASCII, let digit = Character(next).hexDigitValue else {
                throw error("\\u needs four hexadecimal digits", at: start)
            }
            value = value << 4 | UInt32(digit)
            advance()
        }
        return value
    }

    private mutating func number() throws(JSONSyntaxError) -> Double {
        let start = position
        var text = ""
        while let next = peek, isDigit(next) || "+-.eE".unicodeScalars.contains(next) {
            text.unicodeScalars.append(next)
            advance()
        }
        let digits = text.drop(while: { $0 == "-" })
        let hasLeadingZero =
            digits.count > 1 && digits.first == "0" && digits.dropFirst().first?.isNumber == true
        guard let number = Double(text), number.isFinite, !hasLeadingZero, text.last?.isNumber == true,
            digits.first?.isNumber == true
        else {
            throw error("\(text.prefix(40)) is no JSON number", at: start)
        }
        return number
    }

    private mutating func literal() throws(JSONSyntaxError) -> PositionedJSON.Value {
        let start = position
        var word = ""
        while let next = peek, next.properties.isAlphabetic, word.count < 60 {
            word.unicodeScalars.append(next)
            advance()
        }
        switch word {
        case "true": return .bool(true)
        case "false": return .bool(false)
        case "null": return .null
        default: throw error("expected a value, found \(word): strings stand in double quotes", at: start)
        }
    }

    private func isDigit(_ scalar: Unicode.Scalar) -> Bool { ("0"..."9").contains(scalar) }
}
