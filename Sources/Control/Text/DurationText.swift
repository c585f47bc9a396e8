/// Durations as people write them: `500ms`, `30s`, `5m`, `2h`, `7d`, and sums such as `1h30m`.
public enum DurationText {
    private static let units: [(name: String, milliseconds: Double)] = [
        ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000),
    ]

    /// The duration that a text means, or nothing.
    public static func parse(_ text: String) -> Duration? {
        var rest = text.trimming(while: \.isWhitespace)[...]
        guard !rest.isEmpty else { return nil }
        var milliseconds = 0.0
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isNumber || $0 == "." }
            rest = rest.dropFirst(digits.count)
            let name = rest.prefix { $0.isLetter }
            rest = rest.dropFirst(name.count)
            guard let number = Double(digits), let unit = units.first(where: { $0.name == name }) else {
                return nil
            }
            milliseconds += number * unit.milliseconds
        }
        return milliseconds < 1e15 ? .milliseconds(Int(milliseconds.rounded())) : nil
    }

    /// A short text: `850 ms`, `1.5 s`, `30 s`, `5 min`, `2 h`, `7 d`.
    public static func format(_ duration: Duration) -> String {
        let milliseconds =
            Double(duration.components.seconds) * 1000 + Double(duration.components.attoseconds) / 1e15
        switch milliseconds {
        case ..<1000: return "\(Int(milliseconds.rounded())) ms"
        case ..<120_000: return number(milliseconds / 1000) + " s"
        case ..<7_200_000: return number(milliseconds / 60_000) + " min"
        case ..<172_800_000: return number(milliseconds / 3_600_000) + " h"
        default: return number(milliseconds / 86_400_000) + " d"
        }
    }

    private static func number(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)"
    }
}
