public import TemporalAPI

public import struct Foundation.Date
import SwiftProtobuf

/// Where a workflow is in its life.
public enum WorkflowStatus: Int, Sendable {
    case unspecified
    case running, completed, failed, canceled, terminated, continuedAsNew, timedOut, paused

    init(_ status: APIWorkflowExecutionStatus) {
        self = Self(rawValue: status.rawValue) ?? .unspecified
    }
}

/// A workflow as listings show it.
public struct WorkflowInfo: Sendable {
    public let workflowID: String
    public let runID: String
    public let type: String
    public let taskQueue: String
    public let status: WorkflowStatus
    public let startTime: Date?
    public let closeTime: Date?
    /// The number of events in its history.
    public let historyLength: Int
    public let historySizeBytes: Int
    public let parentWorkflowID: String?
    public let memo: Memo
    public let searchAttributes: SearchAttributes

    init(_ info: APIWorkflowExecutionInfo, converter: DataConverter) async throws {
        workflowID = info.execution.workflowID
        runID = info.execution.runID
        type = info.type.name
        taskQueue = info.taskQueue
        status = WorkflowStatus(info.status)
        startTime = info.hasStartTime ? info.startTime.date : nil
        closeTime = info.hasCloseTime ? info.closeTime.date : nil
        historyLength = Int(info.historyLength)
        historySizeBytes = Int(info.historySizeBytes)
        parentWorkflowID = info.hasParentExecution ? info.parentExecution.workflowID : nil
        memo = Memo(fields: try await converter.decode(info.memo.fields))
        searchAttributes = SearchAttributes(info.searchAttributes)
    }
}

/// All that the server tells about one workflow.
public struct WorkflowDescription: Sendable {
    public let info: WorkflowInfo
    public let summary: String?
    public let details: String?
    /// The whole answer, with pending activities and children.
    public let response: APIDescribeWorkflowExecutionResponse

    init(_ response: APIDescribeWorkflowExecutionResponse, converter: DataConverter) async throws {
        self.response = response
        info = try await WorkflowInfo(response.workflowExecutionInfo, converter: converter)
        let metadata = response.executionConfig.userMetadata
        summary = try await Self.text(metadata.hasSummary ? metadata.summary : nil, converter)
        details = try await Self.text(metadata.hasDetails ? metadata.details : nil, converter)
    }

    private static func text(_ payload: APIPayload?, _ converter: DataConverter) async throws -> String? {
        guard let payload, let decoded = try await converter.decode([payload]).first else { return nil }
        return try converter.payloads.decode(decoded)
    }
}
