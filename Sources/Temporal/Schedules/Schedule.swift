public import TemporalAPI

public import struct Foundation.Date
import SwiftProtobuf

/// What is started when, again and again.
public struct Schedule: Sendable {
    /// What to do at the times of ``spec``: start a workflow.
    public var action: ScheduleAction
    public var spec: ScheduleSpec
    public var policy: SchedulePolicy
    /// A line for people about the schedule or its pause.
    public var note: String
    public var isPaused: Bool
    /// How often the action is still done; nil for no limit.
    public var remainingActions: Int?

    public init(
        action: ScheduleAction,
        spec: ScheduleSpec,
        policy: SchedulePolicy = SchedulePolicy(),
        note: String = "",
        isPaused: Bool = false,
        remainingActions: Int? = nil
    ) {
        self.action = action
        self.spec = spec
        self.policy = policy
        self.note = note
        self.isPaused = isPaused
        self.remainingActions = remainingActions
    }
}

/// The workflow that a schedule starts.
///
/// Its ID is the one in the options with the time of the action behind it.
public struct ScheduleAction: Sendable {
    public var workflow: String
    /// The arguments, before the codecs.
    public var arguments: [APIPayload]
    public var options: StartWorkflowOptions

    public init<Workflow: WorkflowDefinition>(
        _ workflow: Workflow.Type,
        input: Workflow.Input,
        options: StartWorkflowOptions,
        by converter: PayloadConverter = PayloadConverter()
    ) throws {
        self.workflow = Workflow.name
        arguments = try converter.encode(argument: input)
        self.options = options
    }

    public init(
        _ workflow: String,
        arguments: [any Encodable & Sendable] = [],
        options: StartWorkflowOptions,
        by converter: PayloadConverter = PayloadConverter()
    ) throws {
        self.workflow = workflow
        self.arguments = try converter.encode(all: arguments)
        self.options = options
    }
}

/// Times: all that any of its parts name, without those that ``skip`` names.
public struct ScheduleSpec: Sendable {
    public var calendars: [Calendar]
    public var intervals: [Interval]
    /// Cron expressions, of five, six or seven fields or a name such as `@hourly`; the server keeps them as calendars.
    public var cronExpressions: [String]
    public var skip: [Calendar]
    public var startAt: Date?
    public var endAt: Date?
    /// Each time is put off by a random part of this.
    public var jitter: Duration?
    /// A name of the time zone database; nil for UTC.
    public var timeZone: String?

    public init(
        calendars: [Calendar] = [],
        intervals: [Interval] = [],
        cronExpressions: [String] = [],
        skip: [Calendar] = [],
        startAt: Date? = nil,
        endAt: Date? = nil,
        jitter: Duration? = nil,
        timeZone: String? = nil
    ) {
        self.calendars = calendars
        self.intervals = intervals
        self.cronExpressions = cronExpressions
        self.skip = skip
        self.startAt = startAt
        self.endAt = endAt
        self.jitter = jitter
        self.timeZone = timeZone
    }

    /// Every `every`, counted from 1970, and later by `offset`.
    public struct Interval: Sendable, Hashable {
        public var every: Duration
        public var offset: Duration

        public init(every: Duration, offset: Duration = .zero) {
            self.every = every
            self.offset = offset
        }
    }

    /// The times whose every field is in one of the ranges given for it.
    public struct Calendar: Sendable, Hashable {
        public var second: [Range] = [.only(0)]
        public var minute: [Range] = [.only(0)]
        public var hour: [Range] = [.only(0)]
        /// From 1 to 31.
        public var dayOfMonth: [Range] = [.through(1, 31)]
        /// From 1 to 12.
        public var month: [Range] = [.through(1, 12)]
        /// Empty for any.
        public var year: [Range] = []
        /// From 0, Sunday, to 6.
        public var dayOfWeek: [Range] = [.through(0, 6)]
        public var comment = ""

        /// Every day at midnight, until a field is set.
        public init() {}
    }

    /// Some values of a calendar field.
    public struct Range: Sendable, Hashable {
        public var start: Int
        public var end: Int
        public var step: Int

        public static func only(_ value: Int) -> Range { Range(start: value, end: value, step: 1) }

        public static func through(_ start: Int, _ end: Int, step: Int = 1) -> Range {
            Range(start: start, end: end, step: step)
        }
    }
}

/// How a schedule handles what is unusual.
public struct SchedulePolicy: Sendable, Hashable {
    /// What to do when the workflow of the time before still runs.
    public enum Overlap: Int, Sendable {
        case skip = 1, bufferOne, bufferAll, cancelOther, terminateOther, allowAll
    }

    public var overlap: Overlap
    /// How late an action may be done when the server was down; nil for the server's default of a year.
    public var catchupWindow: Duration?
    public var pausesOnFailure: Bool

    public init(overlap: Overlap = .skip, catchupWindow: Duration? = nil, pausesOnFailure: Bool = false) {
        self.overlap = overlap
        self.catchupWindow = catchupWindow
        self.pausesOnFailure = pausesOnFailure
    }
}
