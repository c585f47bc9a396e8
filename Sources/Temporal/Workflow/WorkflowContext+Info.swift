public import Foundation
import SwiftProtobuf
import TemporalAPI

extension WorkflowContext {
    /// Facts about a run, from its first event.
    public struct Info: Sendable {
        public struct Execution: Sendable, Hashable {
            public let workflowID: String
            public let runID: String
        }

        public let workflowID: String
        public let runID: String
        public let workflowType: String
        public let namespace: String
        public let taskQueue: String
        /// The time of the first workflow task.
        public let startTime: Date
        /// 1, and one more each time the workflow's retry policy starts it again.
        public let attempt: Int
        public let firstRunID: String
        /// The run that continued as this one.
        public let continuedRunID: String?
        public let parent: Execution?
        public let cronSchedule: String?
        public let executionTimeout: Duration?
        public let runTimeout: Duration?
        public let taskTimeout: Duration
        public let retryPolicy: RetryPolicy?
        public let memo: Memo
        public let searchAttributes: SearchAttributes

        init(_ run: WorkflowRun) {
            let started = run.started
            let attributes = started?.attributes ?? APIWorkflowExecutionStartedEventAttributes()
            func duration(_ value: Google_Protobuf_Duration, _ isThere: Bool) -> Duration? {
                isThere && (value.seconds > 0 || value.nanos > 0) ? Duration(value) : nil
            }
            workflowID = run.workflowID
            runID = run.runID
            workflowType = run.registration.name
            namespace = run.environment.namespace
            taskQueue = run.environment.taskQueue
            startTime = started?.time ?? run.now
            attempt = Int(attributes.attempt)
            firstRunID = attributes.firstExecutionRunID
            continuedRunID =
                attributes.continuedExecutionRunID.isEmpty ? nil : attributes.continuedExecutionRunID
            let parent = attributes.parentWorkflowExecution
            self.parent =
                attributes.hasParentWorkflowExecution
                ? Execution(workflowID: parent.workflowID, runID: parent.runID) : nil
            cronSchedule = attributes.cronSchedule.isEmpty ? nil : attributes.cronSchedule
            executionTimeout = duration(
                attributes.workflowExecutionTimeout,
                attributes.hasWorkflowExecutionTimeout
            )
            runTimeout = duration(attributes.workflowRunTimeout, attributes.hasWorkflowRunTimeout)
            taskTimeout =
                duration(attributes.workflowTaskTimeout, attributes.hasWorkflowTaskTimeout) ?? .seconds(10)
            retryPolicy = attributes.hasRetryPolicy ? RetryPolicy(attributes.retryPolicy) : nil
            memo = Memo(fields: started?.memo ?? [:])
            searchAttributes = SearchAttributes(.with { $0.indexedFields = started?.searchAttributes ?? [:] })
        }
    }
}

/// The first event of a run, without its input, and what the run has changed since.
struct StartedWorkflow: Sendable {
    let attributes: APIWorkflowExecutionStartedEventAttributes
    let time: Date
    let taskTimeout: Duration
    var memo: [String: APIPayload]
    var searchAttributes: [String: APIPayload]

    init(_ attributes: APIWorkflowExecutionStartedEventAttributes, time: Date) {
        memo = attributes.memo.fields
        searchAttributes = attributes.searchAttributes.indexedFields
        var attributes = attributes
        attributes.clearInput()
        attributes.clearMemo()
        attributes.clearSearchAttributes()
        self.attributes = attributes
        self.time = time
        let timeout = Duration(attributes.workflowTaskTimeout)
        taskTimeout = timeout > .zero ? timeout : .seconds(10)
    }
}
