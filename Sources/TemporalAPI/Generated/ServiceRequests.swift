// Made by scripts/generate-temporal-api. Do not edit.
public import SwiftProtobuf

/// A request of WorkflowService, with the type of its answer.
public protocol ServiceRequest: Message, Sendable {
    associatedtype Answer: Message & Sendable
    /// The HTTP/2 path of the call.
    static var path: String { get }
    var namespace: String { get set }
}

extension APICountWorkflowExecutionsRequest: ServiceRequest {
    public typealias Answer = APICountWorkflowExecutionsResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/CountWorkflowExecutions" }
}

extension APICreateScheduleRequest: ServiceRequest {
    public typealias Answer = APICreateScheduleResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/CreateSchedule" }
}

extension APIDeleteScheduleRequest: ServiceRequest {
    public typealias Answer = APIDeleteScheduleResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/DeleteSchedule" }
}

extension APIDescribeNamespaceRequest: ServiceRequest {
    public typealias Answer = APIDescribeNamespaceResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/DescribeNamespace" }
}

extension APIDescribeScheduleRequest: ServiceRequest {
    public typealias Answer = APIDescribeScheduleResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/DescribeSchedule" }
}

extension APIDescribeTaskQueueRequest: ServiceRequest {
    public typealias Answer = APIDescribeTaskQueueResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/DescribeTaskQueue" }
}

extension APIDescribeWorkflowExecutionRequest: ServiceRequest {
    public typealias Answer = APIDescribeWorkflowExecutionResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/DescribeWorkflowExecution" }
}

extension APIExecuteMultiOperationRequest: ServiceRequest {
    public typealias Answer = APIExecuteMultiOperationResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/ExecuteMultiOperation" }
}

extension APIGetWorkflowExecutionHistoryRequest: ServiceRequest {
    public typealias Answer = APIGetWorkflowExecutionHistoryResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/GetWorkflowExecutionHistory" }
}

extension APIListSchedulesRequest: ServiceRequest {
    public typealias Answer = APIListSchedulesResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/ListSchedules" }
}

extension APIListWorkflowExecutionsRequest: ServiceRequest {
    public typealias Answer = APIListWorkflowExecutionsResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/ListWorkflowExecutions" }
}

extension APIPatchScheduleRequest: ServiceRequest {
    public typealias Answer = APIPatchScheduleResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/PatchSchedule" }
}

extension APIPollActivityTaskQueueRequest: ServiceRequest {
    public typealias Answer = APIPollActivityTaskQueueResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/PollActivityTaskQueue" }
}

extension APIPollWorkflowExecutionUpdateRequest: ServiceRequest {
    public typealias Answer = APIPollWorkflowExecutionUpdateResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/PollWorkflowExecutionUpdate" }
}

extension APIPollWorkflowTaskQueueRequest: ServiceRequest {
    public typealias Answer = APIPollWorkflowTaskQueueResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/PollWorkflowTaskQueue" }
}

extension APIQueryWorkflowRequest: ServiceRequest {
    public typealias Answer = APIQueryWorkflowResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/QueryWorkflow" }
}

extension APIRecordActivityTaskHeartbeatRequest: ServiceRequest {
    public typealias Answer = APIRecordActivityTaskHeartbeatResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/RecordActivityTaskHeartbeat" }
}

extension APIRecordActivityTaskHeartbeatByIdRequest: ServiceRequest {
    public typealias Answer = APIRecordActivityTaskHeartbeatByIdResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/RecordActivityTaskHeartbeatById" }
}

extension APIRegisterNamespaceRequest: ServiceRequest {
    public typealias Answer = APIRegisterNamespaceResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/RegisterNamespace" }
}

extension APIRequestCancelWorkflowExecutionRequest: ServiceRequest {
    public typealias Answer = APIRequestCancelWorkflowExecutionResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/RequestCancelWorkflowExecution" }
}

extension APIResetStickyTaskQueueRequest: ServiceRequest {
    public typealias Answer = APIResetStickyTaskQueueResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/ResetStickyTaskQueue" }
}

extension APIResetWorkflowExecutionRequest: ServiceRequest {
    public typealias Answer = APIResetWorkflowExecutionResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/ResetWorkflowExecution" }
}

extension APIRespondActivityTaskCanceledRequest: ServiceRequest {
    public typealias Answer = APIRespondActivityTaskCanceledResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/RespondActivityTaskCanceled" }
}

extension APIRespondActivityTaskCanceledByIdRequest: ServiceRequest {
    public typealias Answer = APIRespondActivityTaskCanceledByIdResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/RespondActivityTaskCanceledById" }
}

extension APIRespondActivityTaskCompletedRequest: ServiceRequest {
    public typealias Answer = APIRespondActivityTaskCompletedResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/RespondActivityTaskCompleted" }
}

extension APIRespondActivityTaskCompletedByIdRequest: ServiceRequest {
    public typealias Answer = APIRespondActivityTaskCompletedByIdResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/RespondActivityTaskCompletedById" }
}

extension APIRespondActivityTaskFailedRequest: ServiceRequest {
    public typealias Answer = APIRespondActivityTaskFailedResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/RespondActivityTaskFailed" }
}

extension APIRespondActivityTaskFailedByIdRequest: ServiceRequest {
    public typealias Answer = APIRespondActivityTaskFailedByIdResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/RespondActivityTaskFailedById" }
}

extension APIRespondQueryTaskCompletedRequest: ServiceRequest {
    public typealias Answer = APIRespondQueryTaskCompletedResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/RespondQueryTaskCompleted" }
}

extension APIRespondWorkflowTaskCompletedRequest: ServiceRequest {
    public typealias Answer = APIRespondWorkflowTaskCompletedResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/RespondWorkflowTaskCompleted" }
}

extension APIRespondWorkflowTaskFailedRequest: ServiceRequest {
    public typealias Answer = APIRespondWorkflowTaskFailedResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/RespondWorkflowTaskFailed" }
}

extension APIShutdownWorkerRequest: ServiceRequest {
    public typealias Answer = APIShutdownWorkerResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/ShutdownWorker" }
}

extension APISignalWithStartWorkflowExecutionRequest: ServiceRequest {
    public typealias Answer = APISignalWithStartWorkflowExecutionResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/SignalWithStartWorkflowExecution" }
}

extension APISignalWorkflowExecutionRequest: ServiceRequest {
    public typealias Answer = APISignalWorkflowExecutionResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/SignalWorkflowExecution" }
}

extension APIStartWorkflowExecutionRequest: ServiceRequest {
    public typealias Answer = APIStartWorkflowExecutionResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/StartWorkflowExecution" }
}

extension APITerminateWorkflowExecutionRequest: ServiceRequest {
    public typealias Answer = APITerminateWorkflowExecutionResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/TerminateWorkflowExecution" }
}

extension APIUpdateScheduleRequest: ServiceRequest {
    public typealias Answer = APIUpdateScheduleResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/UpdateSchedule" }
}

extension APIUpdateWorkflowExecutionRequest: ServiceRequest {
    public typealias Answer = APIUpdateWorkflowExecutionResponse
    public static var path: String { "/temporal.api.workflowservice.v1.WorkflowService/UpdateWorkflowExecution" }
}
