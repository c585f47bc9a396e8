import Foundation
import SwiftProtobuf
import TemporalAPI

/// What the messages that start a workflow have in common.
protocol StartRequest {
    var workflowID: String { get set }
    var workflowType: APIWorkflowType { get set }
    var taskQueue: APITaskQueue { get set }
    var input: APIPayloads { get set }
    var workflowExecutionTimeout: Google_Protobuf_Duration { get set }
    var workflowRunTimeout: Google_Protobuf_Duration { get set }
    var workflowTaskTimeout: Google_Protobuf_Duration { get set }
    var workflowIDReusePolicy: APIWorkflowIdReusePolicy { get set }
    var retryPolicy: APIRetryPolicy { get set }
    var cronSchedule: String { get set }
    var memo: APIMemo { get set }
    var searchAttributes: APISearchAttributes { get set }
    var header: APIHeader { get set }
    var userMetadata: APIUserMetadata { get set }
    var priority: APIPriority { get set }
}

extension APIStartWorkflowExecutionRequest: StartRequest {}
extension APISignalWithStartWorkflowExecutionRequest: StartRequest {}
extension APINewWorkflowExecutionInfo: StartRequest {}

extension TemporalClient {
    /// Fills in which workflow is started, and how.
    func fill(
        _ request: inout some StartRequest,
        _ name: String,
        _ input: [APIPayload],
        _ options: StartWorkflowOptions
    ) async throws {
        let input = try await converter.encode(input)
        let memo = try await converter.encode(options.memo.fields)
        let metadata = try await options.userMetadata(by: converter)
        request.workflowID = options.id
        request.workflowType.name = name
        request.taskQueue.name = options.taskQueue
        if !input.isEmpty { request.input = APIPayloads(input) }
        if let timeout = options.executionTimeout {
            request.workflowExecutionTimeout = .init(rounding: timeout)
        }
        if let timeout = options.runTimeout { request.workflowRunTimeout = .init(rounding: timeout) }
        if let timeout = options.taskTimeout { request.workflowTaskTimeout = .init(rounding: timeout) }
        if let policy = options.idReusePolicy {
            request.workflowIDReusePolicy =
                APIWorkflowIdReusePolicy(rawValue: policy.rawValue) ?? .unspecified
        }
        if let policy = options.retryPolicy { request.retryPolicy = policy.message }
        request.cronSchedule = options.cronSchedule ?? ""
        if !memo.isEmpty { request.memo.fields = memo }
        if !options.searchAttributes.isEmpty { request.searchAttributes = options.searchAttributes.message }
        if let metadata { request.userMetadata = metadata }
        if let priority = options.priority { request.priority.priorityKey = Int32(clamping: priority) }
        if let header = TraceHeader.current() { request.header = header }
    }

    func startRequest(
        _ name: String,
        _ arguments: [any Encodable & Sendable],
        _ options: StartWorkflowOptions
    ) async throws -> APIStartWorkflowExecutionRequest {
        var request = APIStartWorkflowExecutionRequest()
        try await fill(&request, name, converter.payloads.encode(all: arguments), options)
        request.namespace = namespace
        request.identity = connection.identity
        request.requestID = options.requestID ?? UUID().uuidString
        request.workflowIDConflictPolicy = options.conflictPolicy
        if let delay = options.startDelay { request.workflowStartDelay = .init(rounding: delay) }
        return request
    }
}

extension StartWorkflowOptions {
    var conflictPolicy: APIWorkflowIdConflictPolicy {
        idConflictPolicy.flatMap { APIWorkflowIdConflictPolicy(rawValue: $0.rawValue) } ?? .unspecified
    }
}
