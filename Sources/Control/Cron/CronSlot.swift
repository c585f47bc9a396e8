public import struct Foundation.Date

/// One minute of UTC, the unit of cron: whole minutes since 1970-01-01 00:00.
public struct CronSlot: RawRepresentable, Codable, Sendable, Hashable, Comparable, CustomStringConvertible {
    public let rawValue: Int

    public init(rawValue: Int) { self.rawValue = rawValue }

    /// The minute that a moment lies in.
    public init(_ date: Date) { rawValue = Int((date.timeIntervalSince1970 / 60).rounded(.down)) }

    /// When the minute begins.
    public var date: Date { Date(timeIntervalSince1970: Double(rawValue) * 60) }

    public var description: String {
        let (day, minute) = rawValue.quotientAndFloorRemainder(by: 1440)
        let civil = CivilDay(day)
        let text = [civil.month, civil.dayOfMonth, minute / 60, minute % 60].map {
            $0 < 10 ? "0\($0)" : "\($0)"
        }
        return "\(civil.year)-\(text[0])-\(text[1])T\(text[2]):\(text[3])Z"
    }

    public static func < (left: CronSlot, right: CronSlot) -> Bool { left.rawValue < right.rawValue }
}

/// A day of the Gregorian calendar, as a schedule asks for it.
struct CivilDay: Equatable {
    let year: Int
    let month: Int
    let dayOfMonth: Int
    /// 0 is Sunday.
    let dayOfWeek: Int

    init(year: Int, month: Int, dayOfMonth: Int, dayOfWeek: Int) {
        self.year = year
        self.month = month
        self.dayOfMonth = dayOfMonth
        self.dayOfWeek = dayOfWeek
    }

    /// `day`: whole days since 1970-01-01, a Thursday.
    ///
    /// Years are counted from March, so that the leap day is the last of its year; the month's start then follows from
    /// the 153 days that every five months from March on have together.
    init(_ day: Int) {
        let (era, dayOfEra) = (day + 719_468).quotientAndFloorRemainder(by: 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        dayOfMonth = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        dayOfWeek = (day + 4).quotientAndFloorRemainder(by: 7).remainder
    }
}

extension Int {
    /// Division that rounds down, so that the remainder is never negative.
    func quotientAndFloorRemainder(by divisor: Int) -> (quotient: Int, remainder: Int) {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }
}

extension CronSchedule {
    /// 29 February comes after eight years at the latest (1896 to 1904), and on a given weekday of a month sooner.
    private static let daysSearched = 366 * 9

    /// The first slot after `slot`; nil for a day that there is not, such as 30 February.
    public func next(after slot: CronSlot) -> CronSlot? {
        let (today, minute) = slot.rawValue.quotientAndFloorRemainder(by: 1440)
        for day in today...(today + Self.daysSearched) where matches(CivilDay(day)) {
            let from = day == today ? minute + 1 : 0
            if let found = minutesOfDay.first(where: { $0 >= from }) {
                return CronSlot(rawValue: day * 1440 + found)
            }
        }
        return nil
    }

    /// The last slot at or before `slot`.
    public func last(until slot: CronSlot) -> CronSlot? {
        let (today, minute) = slot.rawValue.quotientAndFloorRemainder(by: 1440)
        for day in stride(from: today, through: today - Self.daysSearched, by: -1)
        where matches(CivilDay(day)) {
            let to = day == today ? minute : 1439
            if let found = minutesOfDay.last(where: { $0 <= to }) {
                return CronSlot(rawValue: day * 1440 + found)
            }
        }
        return nil
    }

    private var minutesOfDay: [Int] {
        hours.sorted().flatMap { hour in minutes.sorted().map { hour * 60 + $0 } }
    }
}
