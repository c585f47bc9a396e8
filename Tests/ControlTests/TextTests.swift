import Control
import Testing

struct TextTests {
    @Test(arguments: [
        ("128MiB", 128 << 20), ("128 mib", 128 << 20), ("1GB", 1_000_000_000), ("1.5KiB", 1536), ("42", 42),
        ("42B", 42),
    ])
    func `a size is read with its unit`(_ text: String, _ bytes: Int) {
        #expect(ByteCount.parse(text) == bytes)
    }

    @Test(arguments: ["", "MiB", "-1", "1XB", "1 2", "1e3", "99999999999TiB", "."])
    func `other texts are no size`(_ text: String) { #expect(ByteCount.parse(text) == nil) }

    @Test(arguments: [
        (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (128 << 20, "128 MiB"), (5 << 40, "5 TiB"),
    ])
    func `a size is shown in the largest unit`(_ bytes: Int, _ text: String) {
        #expect(ByteCount.format(bytes) == text)
    }

    @Test(arguments: [
        ("500ms", 500), ("30s", 30_000), ("1h30m", 5_400_000), ("0.5s", 500), ("2d", 172_800_000),
    ])
    func `a duration is read with its unit`(_ text: String, _ milliseconds: Int) {
        #expect(DurationText.parse(text) == .milliseconds(milliseconds))
    }

    @Test(arguments: ["", "5", "s", "5 m", "-5s", "5x", "1..2s", "999999999999d"])
    func `other texts are no duration`(_ text: String) { #expect(DurationText.parse(text) == nil) }

    @Test(arguments: [
        (850, "850 ms"), (1500, "1.5 s"), (90_000, "90 s"), (300_000, "5 min"), (7_200_000, "2 h"),
    ])
    func `a duration is shown in one unit`(_ milliseconds: Int, _ text: String) {
        #expect(DurationText.format(.milliseconds(milliseconds)) == text)
    }

    @Test func `a schedule matches its minutes`() throws {
        let schedule = try CronSchedule(parsing: "*/15 9-17 * jan,mar Mon-Fri")
        #expect(schedule.minutes == [0, 15, 30, 45])
        #expect(schedule.months == [1, 3])
        #expect(schedule.matches(minute: 15, hour: 9, dayOfMonth: 2, month: 3, dayOfWeek: 1))
        #expect(!schedule.matches(minute: 15, hour: 9, dayOfMonth: 2, month: 3, dayOfWeek: 0))
        #expect(try CronSchedule(parsing: "0 0 * * 7").daysOfWeek == [0])
    }

    @Test func `two restricted day fields match either day, as in crontab`() throws {
        let schedule = try CronSchedule(parsing: "0 0 13 * 5")
        #expect(schedule.matches(minute: 0, hour: 0, dayOfMonth: 13, month: 1, dayOfWeek: 2))
        #expect(schedule.matches(minute: 0, hour: 0, dayOfMonth: 1, month: 1, dayOfWeek: 5))
        #expect(!schedule.matches(minute: 0, hour: 0, dayOfMonth: 1, month: 1, dayOfWeek: 2))
    }

    @Test(arguments: [
        "", "* * * *", "60 * * * *", "* * 0 * *", "*/0 * * * *", "5-1 * * * *", "a * * * *", "1/2/3 * * * *",
        ", * * * *",
    ])
    func `other texts are no schedule`(_ text: String) {
        #expect(throws: MartletError.self) { try CronSchedule(parsing: text) }
    }
}
