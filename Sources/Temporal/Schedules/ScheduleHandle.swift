public import TemporalAPI

public import Foundation
import SwiftProtobuf

/// A schedule on the server.
public struct ScheduleHandle: Sendable {
    public let client: TemporalClient
    public let id: String

    /// The schedule, and what it has done so far.
    public func describe() async throws -> ScheduleDescription {
        let request = APIDescribeScheduleRequest.with {
            $0.scheduleID = id
        }
        let response = try await call(request)
        return try await ScheduleDescription(response, converter: client.converter)
    }

    /// Changes the schedule; the change is made to it as it is on the server.
    ///
    /// - Throws: ``RPCError`` when somebody else changed it meanwhile (`failedPrecondition`).
    public func update(_ change: (inout Schedule) throws -> Void) async throws {
        let current = try await describe()
        var schedule = current.schedule
        try change(&schedule)
        let message = try await schedule.message(for: client)
        let request = APIUpdateScheduleRequest.with {
            $0.scheduleID = id
            $0.schedule = message
            $0.conflictToken = current.response.conflictToken
            $0.identity = client.connection.identity
            $0.requestID = UUID().uuidString
        }
        _ = try await call(request)
    }

    /// Does the action now.
    public func trigger(overlap: SchedulePolicy.Overlap? = nil) async throws {
        try await patch { $0.triggerImmediately.overlapPolicy = overlap?.message ?? .unspecified }
    }

    public func pause(note: String = "paused") async throws { try await patch { $0.pause = note } }

    public func unpause(note: String = "unpaused") async throws { try await patch { $0.unpause = note } }

    /// Does the actions of a time that has passed.
    public func backfill(from start: Date, to end: Date, overlap: SchedulePolicy.Overlap? = nil) async throws
    {
        try await patch {
            $0.backfillRequest = [
                .with {
                    $0.startTime = .init(date: start)
                    $0.endTime = .init(date: end)
                    $0.overlapPolicy = overlap?.message ?? .unspecified
                }
            ]
        }
    }

    /// Deletes the schedule; workflows that it has started go on.
    public func delete() async throws {
        let request = APIDeleteScheduleRequest.with {
            $0.scheduleID = id
            $0.identity = client.connection.identity
        }
        _ = try await call(request)
    }

    private func patch(_ change: (inout APISchedulePatch) -> Void) async throws {
        let patch = APISchedulePatch.with(change)
        let request = APIPatchScheduleRequest.with {
            $0.scheduleID = id
            $0.patch = patch
            $0.identity = client.connection.identity
            $0.requestID = UUID().uuidString
        }
        _ = try await call(request)
    }

    private func call<Request: ServiceRequest>(_ request: Request) async throws -> Request.Answer {
        do { return try await client.connection.call(request, timeout: client.callTimeout) } catch let error
            as RPCError
            where error.code == .notFound
        {
            throw ScheduleNotFoundError(id: id, message: error.message)
        }
    }
}

/// No schedule has the ID.
public struct ScheduleNotFoundError: Error, CustomStringConvertible {
    public var id: String
    public var message: String

    public var description: String { "schedule \(id): \(message)" }
}

/// A schedule has the ID already.
public struct ScheduleAlreadyExistsError: Error, CustomStringConvertible {
    public var id: String

    public var description: String { "a schedule with the ID \(id) exists already" }
}

/// A schedule as the server has it.
public struct ScheduleDescription: Sendable {
    public let schedule: Schedule
    public let actionCount: Int
    /// The IDs of the workflows that it has started and that run.
    public let runningWorkflowIDs: [String]
    /// The IDs of the workflows that it has started lately, oldest first.
    public let recentWorkflowIDs: [String]
    public let nextActionTimes: [Date]
    public let memo: Memo
    public let searchAttributes: SearchAttributes
    /// The whole answer.
    public let response: APIDescribeScheduleResponse

    init(_ response: APIDescribeScheduleResponse, converter: DataConverter) async throws {
        self.response = response
        schedule = try await Schedule(response.schedule, converter: converter)
        actionCount = Int(response.info.actionCount)
        runningWorkflowIDs = response.info.runningWorkflows.map(\.workflowID)
        recentWorkflowIDs = response.info.recentActions.map(\.startWorkflowResult.workflowID)
        nextActionTimes = response.info.futureActionTimes.map(\.date)
        memo = Memo(fields: try await converter.decode(response.memo.fields))
        searchAttributes = SearchAttributes(response.searchAttributes)
    }
}

extension TemporalClient {
    /// Creates a schedule.
    ///
    /// - Throws: ``ScheduleAlreadyExistsError``.
    @discardableResult
    public func createSchedule(
        id: String,
        _ schedule: Schedule,
        memo: Memo = Memo(),
        searchAttributes: SearchAttributes = SearchAttributes(),
        triggersImmediately: Bool = false
    ) async throws -> ScheduleHandle {
        let message = try await schedule.message(for: self)
        let memo = try await converter.encode(memo.fields)
        let request = APICreateScheduleRequest.with {
            $0.scheduleID = id
            $0.schedule = message
            if triggersImmediately {
                $0.initialPatch.triggerImmediately.overlapPolicy = schedule.policy.overlap.message
            }
            $0.identity = connection.identity
            $0.requestID = UUID().uuidString
            if !memo.isEmpty { $0.memo.fields = memo }
            if !searchAttributes.isEmpty { $0.searchAttributes = searchAttributes.message }
        }
        do {
            _ = try await connection.call(request, timeout: callTimeout)
        } catch let error as RPCError where error.code == .alreadyExists {
            throw ScheduleAlreadyExistsError(id: id)
        }
        return ScheduleHandle(client: self, id: id)
    }

    /// A handle of a schedule that was created before.
    public func schedule(id: String) -> ScheduleHandle { ScheduleHandle(client: self, id: id) }

    /// The IDs of the schedules that a query finds; a schedule appears a moment after it was created.
    public func listSchedules(_ query: String = "", pageSize: Int = 100) -> PagedSequence<String> {
        PagedSequence { [self] token in
            let request = APIListSchedulesRequest.with {
                $0.maximumPageSize = Int32(clamping: pageSize)
                $0.nextPageToken = token
                $0.query = query
            }
            let response = try await call(request)
            return (response.schedules.map(\.scheduleID), response.nextPageToken)
        }
    }
}
