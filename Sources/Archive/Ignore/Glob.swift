/// A shell pattern for one name: `*`, `?`, `[a-z]`, `[!x]` and `\` before a character that stands for itself.
struct Glob: Equatable {
    private enum Element: Equatable {
        case one(Unicode.Scalar)
        case anyOne
        case anyRun
        case set([ClosedRange<UInt32>], isNegated: Bool)
    }

    private let elements: [Element]

    /// Reads a pattern.
    ///
    /// - Returns: Nothing where it can match no name, such as `[` without its end.
    init?(_ pattern: [Unicode.Scalar]) {
        var elements: [Element] = []
        var index = 0
        while index < pattern.count {
            switch pattern[index] {
            case "*":
                if elements.last != .anyRun { elements.append(.anyRun) }
            case "?":
                elements.append(.anyOne)
            case "[":
                guard let (set, end) = Self.set(pattern, after: index) else { return nil }
                elements.append(set)
                index = end
            case "\\":
                index += 1
                guard index < pattern.count else { return nil }
                elements.append(.one(pattern[index]))
            default:
                elements.append(.one(pattern[index]))
            }
            index += 1
        }
        self.elements = elements
    }

    /// Whether the whole name matches.
    ///
    /// A run that fails is retried from its last `*` only, so time is at most the
    /// product of both lengths.
    func matches(_ name: [Unicode.Scalar]) -> Bool {
        var element = 0
        var position = 0
        var retry: (element: Int, position: Int)?
        while position < name.count {
            if element < elements.count, elements[element] == .anyRun {
                retry = (element, position)
                element += 1
            } else if element < elements.count, accepts(elements[element], name[position]) {
                element += 1
                position += 1
            } else if let last = retry {
                retry = (last.element, last.position + 1)
                element = last.element + 1
                position = last.position + 1
            } else {
                return false
            }
        }
        return elements[element...].allSatisfy { $0 == .anyRun }
    }

    private func accepts(_ element: Element, _ scalar: Unicode.Scalar) -> Bool {
        switch element {
        case .one(let expected): expected == scalar
        case .anyOne: true
        case .anyRun: false
        case .set(let ranges, let isNegated): ranges.contains { $0.contains(scalar.value) } != isNegated
        }
    }

    private static func set(_ pattern: [Unicode.Scalar], after start: Int) -> (Element, end: Int)? {
        var index = start + 1
        var ranges: [ClosedRange<UInt32>] = []
        let isNegated = index < pattern.count && (pattern[index] == "!" || pattern[index] == "^")
        if isNegated { index += 1 }
        let first = index
        while index < pattern.count {
            if pattern[index] == "]", index > first { return (.set(ranges, isNegated: isNegated), index) }
            if pattern[index] == "[", index + 1 < pattern.count, pattern[index + 1] == ":" {
                guard let (named, end) = namedSet(pattern, at: index) else { return nil }
                ranges += named
                index = end + 1
                continue
            }
            if pattern[index] == "\\" { index += 1 }
            guard index < pattern.count else { return nil }
            let low = pattern[index].value
            if index + 2 < pattern.count, pattern[index + 1] == "-", pattern[index + 2] != "]" {
                index += 2
                if pattern[index] == "\\" { index += 1 }
                guard index < pattern.count else { return nil }
                let high = pattern[index].value
                if low <= high { ranges.append(low...high) }
            } else {
                ranges.append(low...low)
            }
            index += 1
        }
        return nil
    }

    /// POSIX's named sets, such as `[:digit:]`.
    private static func namedSet(
        _ pattern: [Unicode.Scalar],
        at start: Int
    ) -> (ranges: [ClosedRange<UInt32>], end: Int)? {
        guard let end = pattern.indices.dropFirst(start + 2).first(where: { pattern[$0] == "]" }),
            pattern[end - 1] == ":"
        else { return nil }
        let name = String(String.UnicodeScalarView(pattern[(start + 2)..<(end - 1)]))
        let digits: [ClosedRange<UInt32>] = [48...57]
        let upper: [ClosedRange<UInt32>] = [65...90]
        let lower: [ClosedRange<UInt32>] = [97...122]
        switch name {
        case "digit": return (digits, end)
        case "upper": return (upper, end)
        case "lower": return (lower, end)
        case "alpha": return (upper + lower, end)
        case "alnum": return (digits + upper + lower, end)
        case "xdigit": return (digits + [65...70, 97...102], end)
        case "space": return ([9...13, 32...32], end)
        case "punct": return ([33...47, 58...64, 91...96, 123...126], end)
        default: return nil
        }
    }
}
