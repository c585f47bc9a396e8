/// Sizes as people write them: `128MiB` is 128 · 2²⁰ bytes, `1GB` is 10⁹ bytes.
public enum ByteCount {
    private static let units: [(name: String, bytes: Int)] = [
        ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10),
        ("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1000), ("B", 1),
    ]

    /// The bytes that a text such as `128MiB`, `1.5 GB` or `4096` means, or nothing.
    public static func parse(_ text: String) -> Int? {
        let text = text.trimming(while: \.isWhitespace)
        let unit = units.first { text.lowercased().hasSuffix($0.name.lowercased()) }
        let digits = text.dropLast(unit?.name.count ?? 0).trimming(while: \.isWhitespace)
        guard digits.first?.isNumber == true, digits.allSatisfy({ $0.isNumber || $0 == "." }),
            let number = Double(digits)
        else { return nil }
        let bytes = number * Double(unit?.bytes ?? 1)
        return bytes < 9e18 ? Int(bytes.rounded()) : nil
    }

    /// The size in the largest binary unit that keeps at least one digit before the point: `1.5 MiB`.
    public static func format(_ bytes: Int) -> String {
        guard let unit = units.first(where: { $0.name.hasSuffix("iB") && bytes >= $0.bytes }) else {
            return "\(bytes) B"
        }
        let tenths = (bytes * 10 + unit.bytes / 2) / unit.bytes
        return tenths % 10 == 0 || tenths >= 1000
            ? "\(tenths / 10) \(unit.name)" : "\(tenths / 10).\(tenths % 10) \(unit.name)"
    }
}

extension StringProtocol {
    func trimming(while predicate: (Character) -> Bool) -> String {
        let head = drop(while: predicate)
        guard let last = head.lastIndex(where: { !predicate($0) }) else { return "" }
        return String(head[...last])
    }
}
