public import Foundation

/// Times of the past as people write them: `2026-11-24T06:15:04Z` (RFC 3339), or `10m ago`.
public enum TimeText {
    /// The time that a text means at `now`.
    ///
    /// - Throws: ``MartletError`` with code `bad_request` for what is no time, or one in the future.
    public static func parse(_ text: String, now: Date) throws(MartletError) -> Date {
        let time: Date
        if text.hasSuffix("ago"), let span = DurationText.parse(String(text.dropLast(3))) {
            time = now.addingTimeInterval(-Double(span.components.seconds))
        } else if let date = JSONFormat.date(text) {
            time = date
        } else {
            throw MartletError(
                .badRequest,
                "\"\(text.prefix(60))\" is no time; write it like 2026-11-24T06:15:04Z, or like \"10m ago\""
            )
        }
        guard time <= now else {
            throw MartletError(.badRequest, "\(JSONFormat.time(time)) is in the future")
        }
        return time
    }
}
