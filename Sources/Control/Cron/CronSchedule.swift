/// A schedule of five fields: minute, hour, day of the month, month, day of the week (0 and 7 are Sunday), in UTC.
///
/// Each field takes `*`, a number, a range `1-5`, a list `1,3`, a step `*/15` or `10-30/5`; months and weekdays take
/// their English three-letter names. As in POSIX `crontab`, a day matches when either of the two day fields does, if
/// both are restricted.
public struct CronSchedule: Sendable, Hashable, CustomStringConvertible {
    public let minutes: Set<Int>
    public let hours: Set<Int>
    public let daysOfMonth: Set<Int>
    public let months: Set<Int>
    /// 0 is Sunday.
    public let daysOfWeek: Set<Int>
    public let description: String
    private let isEveryDayOfMonth: Bool
    private let isEveryDayOfWeek: Bool

    /// Reads the five fields.
    ///
    /// - Throws: ``MartletError`` with code `invalid_settings` that names the field and what is allowed in it.
    public init(parsing text: String) throws(MartletError) {
        let fields = text.split(separator: " ", omittingEmptySubsequences: true).map(String.init)
        guard fields.count == 5 else {
            throw MartletError(
                .invalidSettings,
                "\"\(text.prefix(80))\" has \(fields.count) fields; a schedule has five, in UTC: minute, hour, "
                    + "day of the month, month, day of the week, for example \"0 4 * * *\""
            )
        }
        minutes = try Self.values(fields[0], "minute", 0...59, names: [])
        hours = try Self.values(fields[1], "hour", 0...23, names: [])
        daysOfMonth = try Self.values(fields[2], "day of the month", 1...31, names: [])
        let monthNames = [
            "", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ]
        months = try Self.values(fields[3], "month", 1...12, names: monthNames)
        let dayNames = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
        daysOfWeek = Set(try Self.values(fields[4], "day of the week", 0...7, names: dayNames).map { $0 % 7 })
        isEveryDayOfMonth = fields[2].hasPrefix("*")
        isEveryDayOfWeek = fields[4].hasPrefix("*")
        description = fields.joined(separator: " ")
    }

    /// Whether the schedule fires in the given minute.
    public func matches(minute: Int, hour: Int, dayOfMonth: Int, month: Int, dayOfWeek: Int) -> Bool {
        let day = CivilDay(year: 0, month: month, dayOfMonth: dayOfMonth, dayOfWeek: dayOfWeek)
        return minutes.contains(minute) && hours.contains(hour) && matches(day)
    }

    /// Whether the schedule fires on a day at all.
    func matches(_ day: CivilDay) -> Bool {
        let inMonth = daysOfMonth.contains(day.dayOfMonth)
        let inWeek = daysOfWeek.contains(day.dayOfWeek)
        let onDay = isEveryDayOfMonth || isEveryDayOfWeek ? inMonth && inWeek : inMonth || inWeek
        return months.contains(day.month) && onDay
    }

    private static func values(
        _ field: String,
        _ name: String,
        _ range: ClosedRange<Int>,
        names: [String]
    ) throws(MartletError) -> Set<Int> {
        let failure = MartletError(
            .invalidSettings,
            "\"\(field.prefix(40))\" is no \(name); allowed: *, \(range.lowerBound) to \(range.upperBound), ranges 1-5, "
                + "lists 1,3 and steps */15"
        )
        var values: Set<Int> = []
        for part in field.split(separator: ",", omittingEmptySubsequences: false) {
            let pieces = part.split(separator: "/", omittingEmptySubsequences: false)
            guard pieces.count <= 2, let head = pieces.first else { throw failure }
            let step = pieces.count == 2 ? Int(pieces[1]) : 1
            guard let step, (1...range.upperBound + 1).contains(step) else { throw failure }
            var span = range
            if head != "*" {
                let ends = head.split(separator: "-", omittingEmptySubsequences: false).map { end in
                    names.firstIndex { !$0.isEmpty && $0 == end.lowercased() } ?? Int(end)
                }
                guard (1...2).contains(ends.count), let low = ends[0], range.contains(low) else {
                    throw failure
                }
                let high = ends.count == 2 ? ends[1] : (pieces.count == 2 ? range.upperBound : low)
                guard let high, range.contains(high), low <= high else { throw failure }
                span = low...high
            }
            values.formUnion(stride(from: span.lowerBound, through: span.upperBound, by: step))
        }
        return values
    }
}
