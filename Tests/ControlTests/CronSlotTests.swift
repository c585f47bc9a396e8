import Control
import Foundation
import Testing

struct CronSlotTests {
    private func slot(_ text: String) throws -> CronSlot {
        CronSlot(try Date(text + ":00Z", strategy: .iso8601))
    }

    @Test(arguments: [
        ("0 4 * * *", "2026-01-31T03:59", "2026-01-31T04:00"),
        ("0 4 * * *", "2026-01-31T04:00", "2026-02-01T04:00"),
        ("*/15 * * * *", "2026-12-31T23:46", "2027-01-01T00:00"),
        ("0 0 29 2 *", "2096-02-29T00:00", "2104-02-29T00:00"),
        ("30 12 1 * mon", "2026-06-02T00:00", "2026-06-08T12:30"),
        ("0 9 * * 1-5", "2026-11-27T09:00", "2026-11-30T09:00"),
        ("5,50 0-1 * jan *", "2026-01-31T01:50", "2027-01-01T00:05"),
        ("0 0 * * 7", "1969-12-27T00:00", "1969-12-28T00:00"),
    ])
    func `the next slot of a schedule is found`(_ schedule: String, _ from: String, _ next: String) throws {
        let found = try CronSchedule(parsing: schedule).next(after: slot(from))
        #expect(found.map(\.description) == next + "Z")
    }

    @Test func `a day that there is not has no slot`() throws {
        let schedule = try CronSchedule(parsing: "0 0 30 2 *")
        #expect(schedule.next(after: CronSlot(Date())) == nil)
        #expect(schedule.last(until: CronSlot(Date())) == nil)
    }

    /// Compares with Foundation's calendar, minute by minute.
    @Test func `slots are those that the calendar of the system finds`() throws {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = try #require(TimeZone(identifier: "UTC"))
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = Generator(state: seed)
        for _ in 0..<40 {
            func field(_ range: ClosedRange<Int>) -> String {
                switch Int.random(in: 0...3, using: &generator) {
                case 0: "*"
                case 1: "\(Int.random(in: range, using: &generator))"
                case 2: "*/\(Int.random(in: 1...range.upperBound, using: &generator))"
                default: "\(range.lowerBound)-\(Int.random(in: range, using: &generator))"
                }
            }
            let text = [0...59, 0...23, 1...28, 1...12, 0...6].map(field).joined(separator: " ")
            let schedule = try CronSchedule(parsing: text)
            let from = CronSlot(rawValue: Int.random(in: -1_000_000...60_000_000, using: &generator))
            let next = schedule.next(after: from)
            // At most three days are walked; the calendar is slow.
            let until = min(next?.rawValue ?? .max, from.rawValue + 3 * 1440)
            for minute in (from.rawValue + 1)...until {
                let date = CronSlot(rawValue: minute).date
                let parts = calendar.dateComponents([.minute, .hour, .day, .month, .weekday], from: date)
                let matches = schedule.matches(
                    minute: parts.minute ?? -1,
                    hour: parts.hour ?? -1,
                    dayOfMonth: parts.day ?? -1,
                    month: parts.month ?? -1,
                    dayOfWeek: (parts.weekday ?? 0) - 1
                )
                #expect(matches == (minute == next?.rawValue), "\(text) at \(date), seed \(seed)")
            }
            if let next { #expect(schedule.last(until: next) == next, "\(text), seed \(seed)") }
        }
    }

    @Test func `a route's expression may say what happens after missed times`() throws {
        #expect(try CronJob(route: "0 4 * * *") == CronJob(schedule: "0 4 * * *"))
        #expect(try CronJob(route: "0  4 * * * skip") == CronJob(schedule: "0 4 * * *", catchUp: .skip))
        #expect(throws: MartletError.self) { try CronJob(route: "0 4 * * * never") }
    }

    /// xorshift64*, which gives the same numbers for the same seed.
    private struct Generator: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state = state == 0 ? 1 : state
            state ^= state >> 12
            state ^= state << 25
            state ^= state >> 27
            return state &* 2_685_821_657_736_338_717
        }
    }
}
