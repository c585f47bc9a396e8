/// Reads the plain XML of S3's answers: elements, text and the five named entities.
///
/// Attributes are passed over.
struct XMLReader {
    /// An element: its name without namespace, its text, and the elements in it.
    struct Element {
        let name: String
        var text = ""
        var children: [Element] = []

        /// The text of the first child of that name.
        subscript(name: String) -> String? { children.first { $0.name == name }?.text }

        func all(_ name: String) -> [Element] { children.filter { $0.name == name } }
    }

    private static let depthLimit = 32
    private var rest: Substring.UTF8View

    /// The root element, or nil when the text is not such XML.
    static func parse(_ text: String) -> Element? {
        var reader = XMLReader(rest: text[...].utf8)
        return reader.readRoot()
    }

    private mutating func readRoot() -> Element? {
        while skip(past: UInt8(ascii: "<")) {
            switch rest.first {
            case UInt8(ascii: "?"), UInt8(ascii: "!"): continue
            default: return readElement(depth: 0)
            }
        }
        return nil
    }

    /// After the `<` of a start tag.
    private mutating func readElement(depth: Int) -> Element? {
        guard depth < Self.depthLimit, let end = rest.firstIndex(of: UInt8(ascii: ">")) else { return nil }
        let tag = String(decoding: rest[..<end], as: UTF8.self)
        rest = rest[rest.index(after: end)...]
        let isEmpty = tag.hasSuffix("/")
        let qualified = tag.prefix { $0 != " " && $0 != "/" && !$0.isNewline }
        var element = Element(name: String(qualified.split(separator: ":").last ?? qualified))
        if isEmpty { return element }
        var text: [UInt8] = []
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "<") else {
                text.append(byte)
                continue
            }
            if rest.first == UInt8(ascii: "/") {
                guard skip(past: UInt8(ascii: ">")) else { return nil }
                element.text = Self.unescaped(String(decoding: text, as: UTF8.self))
                return element
            }
            guard let child = readElement(depth: depth + 1) else { return nil }
            element.children.append(child)
        }
        return nil
    }

    private mutating func skip(past byte: UInt8) -> Bool {
        guard let index = rest.firstIndex(of: byte) else { return false }
        rest = rest[rest.index(after: index)...]
        return true
    }

    private static func unescaped(_ text: String) -> String {
        guard text.contains("&") else { return text }
        var out = ""
        var rest = text[...]
        while let start = rest.firstIndex(of: "&") {
            out += rest[..<start]
            rest = rest[rest.index(after: start)...]
            guard let end = rest.firstIndex(of: ";") else { return out + "&" + rest }
            out += character(String(rest[..<end])) ?? "&\(rest[..<end]);"
            rest = rest[rest.index(after: end)...]
        }
        return out + rest
    }

    private static func character(_ entity: String) -> String? {
        let named = ["amp": "&", "lt": "<", "gt": ">", "quot": "\"", "apos": "'"]
        if let character = named[entity] { return character }
        guard entity.hasPrefix("#") else { return nil }
        let digits = entity.dropFirst()
        let code = digits.hasPrefix("x") ? UInt32(digits.dropFirst(), radix: 16) : UInt32(digits)
        return code.flatMap(Unicode.Scalar.init).map { String(Character($0)) }
    }

    /// Escapes text for an element's content.
    static func escaped(_ text: String) -> String {
        var out = ""
        for character in text {
            switch character {
            case "&": out += "&amp;"
            case "<": out += "&lt;"
            case ">": out += "&gt;"
            default: out.append(character)
            }
        }
        return out
    }
}
