/// Turns the text of `martlet.json` into settings, and every mistake into a message that names the line, what was
/// found and what is allowed.
struct SettingsReader {
    let file: String

    func error(_ position: TextPosition, _ message: String) -> MartletError {
        MartletError(.invalidSettings, "\(file):\(position.line):\(position.column): \(message)")
    }

    func mismatch(_ key: String, _ json: PositionedJSON, allowed: String) -> MartletError {
        error(json.position, "\"\(key)\" is \(json.summary); allowed: \(allowed)")
    }

    func members(
        _ json: PositionedJSON,
        key: String,
        allowed: [String]
    ) throws(MartletError) -> [String: PositionedJSON] {
        guard case .object(let members) = json.value else {
            throw mismatch(key, json, allowed: "an object with the keys \(allowed.joined(separator: ", "))")
        }
        for member in members where !allowed.contains(member.key) {
            let scope = key == file ? "" : " in \"\(key)\""
            let nearest = allowed.min { distance($0, member.key) < distance($1, member.key) }
            let hint =
                nearest.flatMap { distance($0, member.key) <= 2 ? "; did you mean \"\($0)\"?" : nil } ?? ";"
            throw error(
                member.position,
                "unknown key \"\(member.key.prefix(60))\"\(scope)\(hint) allowed: \(allowed.joined(separator: ", "))"
            )
        }
        // The parser has refused duplicate keys.
        return Dictionary(members.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
    }

    func string(_ key: String, _ json: PositionedJSON, allowed: String) throws(MartletError) -> String {
        guard case .string(let string) = json.value, !string.isEmpty else {
            throw mismatch(key, json, allowed: allowed)
        }
        return string
    }

    func choice<Choice>(_ key: String, _ json: PositionedJSON) throws(MartletError) -> Choice
    where Choice: CaseIterable & RawRepresentable<String> {
        let allowed = Choice.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", ")
        guard case .string(let string) = json.value, let choice = Choice(rawValue: string) else {
            throw mismatch(key, json, allowed: allowed)
        }
        return choice
    }

    func number(
        _ key: String,
        _ json: PositionedJSON,
        in range: ClosedRange<Double>
    ) throws(MartletError) -> Double {
        guard case .number(let number) = json.value, range.contains(number) else {
            throw mismatch(key, json, allowed: "a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// A size: bytes as a number, or a string with a unit.
    func bytes(_ key: String, _ json: PositionedJSON, in range: ClosedRange<Int>) throws(MartletError) -> Int
    {
        let bytes: Int? =
            switch json.value {
            case .number(let number) where number == number.rounded() && abs(number) < 1e15: Int(number)
            case .string(let string): ByteCount.parse(string)
            default: nil
            }
        guard let bytes, range.contains(bytes) else {
            let limits = "\(ByteCount.format(range.lowerBound)) to \(ByteCount.format(range.upperBound))"
            throw mismatch(key, json, allowed: "a size such as \"128MiB\" or \"1GB\", from \(limits)")
        }
        return bytes
    }

    func duration(
        _ key: String,
        _ json: PositionedJSON,
        in range: ClosedRange<Duration>,
        or alternatives: String = ""
    ) throws(MartletError) -> Duration {
        let duration: Duration? =
            switch json.value {
            case .number(let seconds) where abs(seconds) < 1e9: .milliseconds(Int(seconds * 1000))
            case .string(let string): DurationText.parse(string)
            default: nil
            }
        guard let duration, range.contains(duration) else {
            let limits =
                "\(DurationText.format(range.lowerBound)) to \(DurationText.format(range.upperBound))"
            throw mismatch(
                key,
                json,
                allowed:
                    "a duration such as \"500ms\", \"30s\", \"5m\" or \"1h\", from \(limits)\(alternatives)"
            )
        }
        return duration
    }

    /// The number of edits between two short words (Levenshtein's distance).
    private func distance(_ first: String, _ second: String) -> Int {
        let second = Array(second.lowercased().prefix(40))
        var row = Array(0...second.count)
        for (i, character) in first.lowercased().enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for j in second.indices {
                let above = row[j + 1]
                row[j + 1] = min(above + 1, row[j] + 1, diagonal + (second[j] == character ? 0 : 1))
                diagonal = above
            }
        }
        return row[second.count]
    }
}
