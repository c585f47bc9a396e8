import Foundation
import SwiftProtobuf
import TemporalAPI

extension WorkflowContext {
    /// Runs an activity on a worker of its task queue and waits for its result.
    ///
    /// - Throws: ``ActivityFailure``, with the reason as its cause, when the activity failed for good or was cancelled.
    public func activity<Input, Output>(
        _ activity: ActivityDefinition<Input, Output>,
        _ input: Input,
        options: ActivityOptions? = nil
    ) async throws -> Output {
        let payloads = try run.environment.converter.payloads.encode(argument: input)
        let result = try await execute(activity.name, payloads, options ?? activity.options)
        return try decode(result)
    }

    /// Runs an activity that takes no input.
    public func activity<Output>(
        _ activity: ActivityDefinition<Nothing, Output>,
        options: ActivityOptions? = nil
    ) async throws -> Output {
        try await self.activity(activity, Nothing(), options: options)
    }

    /// Runs an activity by name, with any number of arguments: for activities written with other SDKs.
    public func activity<Output: Codable & Sendable>(
        name: String,
        arguments: [any Encodable & Sendable],
        options: ActivityOptions = ActivityOptions(),
        as type: Output.Type = Output.self
    ) async throws -> Output {
        let payloads = try run.environment.converter.payloads.encode(all: arguments)
        return try decode(try await execute(name, payloads, options))
    }

    /// Runs an activity inside this worker, within the workflow task: for what is quick, and needs no queue.
    public func localActivity<Input, Output>(
        _ activity: ActivityDefinition<Input, Output>,
        _ input: Input,
        options: LocalActivityOptions = LocalActivityOptions()
    ) async throws -> Output {
        let payloads = APIPayloads(try run.environment.converter.payloads.encode(argument: input))
        var attempt = 1
        var originalSchedule: Date?
        while true {
            try await run.enter("localActivity")
            let operation = run.machine.scheduleLocalActivity(
                type: activity.name,
                input: payloads,
                header: header,
                options: options,
                attempt: attempt,
                originalSchedule: originalSchedule
            )
            switch try await run.wait(for: operation) {
            case .retryLater(let delay, let next, let scheduled):
                attempt = next
                originalSchedule = scheduled
                try await sleep(for: delay)
            case let resolution: return try decode(value(resolution))
            }
        }
    }

    var header: APIHeader { run.started?.attributes.header ?? APIHeader() }

    private func execute(
        _ name: String,
        _ input: [APIPayload],
        _ options: ActivityOptions
    ) async throws -> APIPayloads {
        try await run.enter("activity \(name)")
        let attributes = APIScheduleActivityTaskCommandAttributes.with {
            $0.activityType.name = name
            $0.activityID = options.activityID ?? ""
            $0.taskQueue.name = options.taskQueue ?? run.environment.taskQueue
            if !input.isEmpty { $0.input = APIPayloads(input) }
            if !header.fields.isEmpty { $0.header = header }
            options.set(&$0)
        }
        let operation = run.machine.scheduleActivity(
            attributes,
            cancellation: options.cancellation,
            summary: try metadata(options.summary)
        )
        return try value(try await run.wait(for: operation))
    }

    func decode<Output: Decodable & Sendable>(_ payloads: APIPayloads) throws -> Output {
        try run.environment.converter.payloads.decode(argument: payloads.payloads)
    }

    func value(_ resolution: WorkflowMachine.Resolution) throws -> APIPayloads {
        switch resolution {
        case .completed(let payloads): return payloads
        case .failed(let failure):
            throw run.environment.converter.failures.error(
                of: failure,
                by: run.environment.converter.payloads
            )
        case .canceled: throw CancellationError()
        case .started, .retryLater: return APIPayloads()
        case .evicted: throw EvictedError()
        }
    }
}
