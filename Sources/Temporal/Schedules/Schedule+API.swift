import Foundation
import SwiftProtobuf
import TemporalAPI

extension Schedule {
    func message(for client: TemporalClient) async throws -> APISchedule {
        var message = APISchedule()
        message.spec = spec.message
        message.policies = policy.message
        message.state.notes = note
        message.state.paused = isPaused
        message.state.limitedActions = remainingActions != nil
        message.state.remainingActions = Int64(remainingActions ?? 0)
        var start = APINewWorkflowExecutionInfo()
        try await client.fill(&start, action.workflow, action.arguments, action.options)
        message.action.startWorkflow = start
        return message
    }

    init(_ message: APISchedule, converter: DataConverter) async throws {
        let start = message.action.startWorkflow
        var options = StartWorkflowOptions(id: start.workflowID, taskQueue: start.taskQueue.name)
        options.executionTimeout =
            start.hasWorkflowExecutionTimeout ? Duration(start.workflowExecutionTimeout) : nil
        options.runTimeout = start.hasWorkflowRunTimeout ? Duration(start.workflowRunTimeout) : nil
        options.taskTimeout = start.hasWorkflowTaskTimeout ? Duration(start.workflowTaskTimeout) : nil
        options.retryPolicy = start.hasRetryPolicy ? RetryPolicy(start.retryPolicy) : nil
        options.memo = Memo(fields: try await converter.decode(start.memo.fields))
        options.searchAttributes = SearchAttributes(start.searchAttributes)
        var action = try ScheduleAction(start.workflowType.name, options: options)
        action.arguments = try await converter.decode(start.input.payloads)
        self.init(
            action: action,
            spec: ScheduleSpec(message.spec),
            policy: SchedulePolicy(message.policies),
            note: message.state.notes,
            isPaused: message.state.paused,
            remainingActions: message.state.limitedActions ? Int(message.state.remainingActions) : nil
        )
    }
}

extension ScheduleSpec {
    var message: APIScheduleSpec {
        .with {
            $0.structuredCalendar = calendars.map(\.message)
            $0.interval = intervals.map { interval in
                .with {
                    $0.interval = .init(rounding: interval.every)
                    $0.phase = .init(rounding: interval.offset)
                }
            }
            $0.cronString = cronExpressions
            $0.excludeStructuredCalendar = skip.map(\.message)
            if let startAt { $0.startTime = .init(date: startAt) }
            if let endAt { $0.endTime = .init(date: endAt) }
            if let jitter { $0.jitter = .init(rounding: jitter) }
            $0.timezoneName = timeZone ?? ""
        }
    }

    init(_ message: APIScheduleSpec) {
        self.init(
            calendars: message.structuredCalendar.map(Calendar.init),
            intervals: message.interval.map {
                Interval(every: Duration($0.interval), offset: Duration($0.phase))
            },
            cronExpressions: message.cronString,
            skip: message.excludeStructuredCalendar.map(Calendar.init),
            startAt: message.hasStartTime ? message.startTime.date : nil,
            endAt: message.hasEndTime ? message.endTime.date : nil,
            jitter: message.hasJitter ? Duration(message.jitter) : nil,
            timeZone: message.timezoneName.isEmpty ? nil : message.timezoneName
        )
    }
}

extension ScheduleSpec.Calendar {
    var message: APIStructuredCalendarSpec {
        .with {
            $0.second = second.map(\.message)
            $0.minute = minute.map(\.message)
            $0.hour = hour.map(\.message)
            $0.dayOfMonth = dayOfMonth.map(\.message)
            $0.month = month.map(\.message)
            $0.year = year.map(\.message)
            $0.dayOfWeek = dayOfWeek.map(\.message)
            $0.comment = comment
        }
    }

    init(_ message: APIStructuredCalendarSpec) {
        second = message.second.map(ScheduleSpec.Range.init)
        minute = message.minute.map(ScheduleSpec.Range.init)
        hour = message.hour.map(ScheduleSpec.Range.init)
        dayOfMonth = message.dayOfMonth.map(ScheduleSpec.Range.init)
        month = message.month.map(ScheduleSpec.Range.init)
        year = message.year.map(ScheduleSpec.Range.init)
        dayOfWeek = message.dayOfWeek.map(ScheduleSpec.Range.init)
        comment = message.comment
    }
}

extension ScheduleSpec.Range {
    var message: APIRange {
        .with {
            $0.start = Int32(clamping: start)
            $0.end = Int32(clamping: end)
            $0.step = Int32(clamping: step)
        }
    }

    /// A range without an end is its start alone, and without a step has one of 1.
    init(_ message: APIRange) {
        self.init(
            start: Int(message.start),
            end: Int(max(message.start, message.end)),
            step: Int(max(1, message.step))
        )
    }
}

extension SchedulePolicy {
    var message: APISchedulePolicies {
        .with {
            $0.overlapPolicy = overlap.message
            if let catchupWindow { $0.catchupWindow = .init(rounding: catchupWindow) }
            $0.pauseOnFailure = pausesOnFailure
        }
    }

    init(_ message: APISchedulePolicies) {
        self.init(
            overlap: Overlap(rawValue: message.overlapPolicy.rawValue) ?? .skip,
            catchupWindow: message.hasCatchupWindow ? Duration(message.catchupWindow) : nil,
            pausesOnFailure: message.pauseOnFailure
        )
    }
}

extension SchedulePolicy.Overlap {
    var message: APIScheduleOverlapPolicy { APIScheduleOverlapPolicy(rawValue: rawValue) ?? .unspecified }
}
