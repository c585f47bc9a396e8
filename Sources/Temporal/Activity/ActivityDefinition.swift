/// What callers need to know of an activity: its name, the types of its input and output, and how it is usually run.
///
/// Workflows call it by its definition; the worker that runs it registers an ``ActivityRegistration`` for the same.
///
/// ```swift
/// let greet = ActivityDefinition<String, String>("greet")
/// ```
public struct ActivityDefinition<Input: Codable & Sendable, Output: Codable & Sendable>: Sendable {
    /// The activity type's name, as other SDKs and the command line call it.
    public let name: String
    /// Used by calls that give none of their own.
    public var options: ActivityOptions

    public init(
        _ name: String,
        input: Input.Type = Input.self,
        output: Output.Type = Output.self,
        options: ActivityOptions = ActivityOptions()
    ) {
        self.name = name
        self.options = options
    }
}
