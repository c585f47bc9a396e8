package import FoundationEssentials

/// Dates as HTTP and S3 write them, in universal time.
package enum HTTPDate {
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// Reads `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7) or `1994-11-06T08:49:37.000Z` (RFC 3339).
    package static func parse(_ text: String) -> Date? {
        let fields = text.split { !($0.isLetter || $0.isNumber || $0 == ".") }
        guard text.first?.isNumber != true else {
            let joined = text.split { "-T:Z".contains($0) }
            guard joined.count == 6, text.hasSuffix("Z"), let year = Int(joined[0]),
                let month = Int(joined[1]),
                let day = Int(joined[2]), let hour = Int(joined[3]), let minute = Int(joined[4]),
                let second = Double(joined[5])
            else { return nil }
            return date(year, month, day, hour, minute, second)
        }
        guard fields.count >= 7, let day = Int(fields[1]),
            let month = months.firstIndex(of: String(fields[2])),
            let year = Int(fields[3]), let hour = Int(fields[4]), let minute = Int(fields[5]),
            let second = Int(fields[6])
        else { return nil }
        return date(year, month + 1, day, hour, minute, Double(second))
    }

    private static func date(
        _ year: Int,
        _ month: Int,
        _ day: Int,
        _ hour: Int,
        _ minute: Int,
        _ second: Double
    ) -> Date? {
        guard (1...12).contains(month), (1...31).contains(day), (0...24).contains(hour) else { return nil }
        let days = daysSince1970(year: year, month: month, day: day)
        return Date(timeIntervalSince1970: Double(days * 86_400 + hour * 3600 + minute * 60) + second)
    }

    /// The inverse of `civilDate(daysSince1970:)`, from the same source.
    private static func daysSince1970(year: Int, month: Int, day: Int) -> Int {
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = (shiftedYear >= 0 ? shiftedYear : shiftedYear - 399) / 400
        let yearOfEra = shiftedYear - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }
}
