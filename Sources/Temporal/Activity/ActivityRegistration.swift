package import TemporalAPI

/// An activity that a worker runs: its name and its code.
///
/// ```swift
/// ActivityRegistration(greet) { context, name in "Hello \(name)" }
/// ```
public struct ActivityRegistration: Sendable {
    package typealias Body =
        @Sendable (ActivityContext, [APIPayload], PayloadConverter) async throws -> APIPayload

    public let name: String
    package let body: Body

    /// Makes an activity of `body`, which runs outside of workflows and may do anything.
    ///
    /// Its task is cancelled when the workflow cancels the activity (which only activities learn that heartbeat), when
    /// its result is no longer wanted, and when the worker has no more time to stop.
    public init<Input, Output>(
        _ activity: ActivityDefinition<Input, Output>,
        _ body: @escaping @Sendable @concurrent (ActivityContext, Input) async throws -> Output
    ) {
        name = activity.name
        self.body = { context, payloads, converter in
            let input: Input = try converter.decode(argument: payloads)
            return try converter.encode(try await body(context, input))
        }
    }

    /// An activity that takes no input.
    public init<Output>(
        _ activity: ActivityDefinition<Nothing, Output>,
        _ body: @escaping @Sendable @concurrent (ActivityContext) async throws -> Output
    ) {
        self.init(activity) { context, _ in try await body(context) }
    }

    /// An activity that takes any number of arguments: for callers written with other SDKs.
    public init<Output: Codable & Sendable>(
        name: String,
        _ body: @escaping @Sendable @concurrent (ActivityContext, [RawPayload]) async throws -> Output
    ) {
        self.name = name
        self.body = { context, payloads, converter in
            try converter.encode(try await body(context, payloads.map { RawPayload($0) }))
        }
    }
}
