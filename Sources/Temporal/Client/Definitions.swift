/// What callers need to know of a workflow: its name and the types of its input and its output.
///
/// One value goes in and one comes out, so that fields can be added later; ``Nothing`` stands for none.
public protocol WorkflowDefinition {
    associatedtype Input: Codable & Sendable
    associatedtype Output: Codable & Sendable
    /// The workflow type's name, as other SDKs and the command line call it.
    static var name: String { get }
}

extension WorkflowDefinition {
    public static var name: String { "\(Self.self)" }
}

/// A signal: a message that a workflow handles, without an answer.
public struct SignalDefinition<Input: Codable & Sendable>: Sendable, Hashable {
    public let name: String

    public init(_ name: String, input: Input.Type = Input.self) { self.name = name }
}

/// A query: a question about a workflow's state, which changes nothing.
public struct QueryDefinition<Input: Codable & Sendable, Output: Codable & Sendable>: Sendable, Hashable {
    public let name: String

    public init(_ name: String, input: Input.Type = Input.self, output: Output.Type = Output.self) {
        self.name = name
    }
}

/// An update: a request that changes a workflow's state and is answered; the workflow may refuse it.
public struct UpdateDefinition<Input: Codable & Sendable, Output: Codable & Sendable>: Sendable, Hashable {
    public let name: String

    public init(_ name: String, input: Input.Type = Input.self, output: Output.Type = Output.self) {
        self.name = name
    }
}
