package import SwiftProtobuf
package import TemporalAPI

/// A request of WorkflowService, with the type of its answer.
package protocol ServiceRequest: Message, Sendable {
    associatedtype Answer: Message & Sendable
    var namespace: String { get set }
}

extension ServiceRequest {
    /// The method is named like its request.
    static var method: String {
        let name = protoMessageName.split(separator: ".").last ?? ""
        return String(name.dropLast("Request".count))
    }
}

extension TemporalConnection {
    /// Makes a call in the connection's namespace.
    ///
    /// - Throws: ``RPCError``, or `CancellationError` when the task was cancelled.
    package func call<Request: ServiceRequest>(
        _ request: Request,
        timeout: Duration = .seconds(30),
        retry: CallRetry = .standard
    ) async throws -> Request.Answer {
        var request = request
        request.namespace = namespace
        return try await call(Request.method, request, timeout: timeout, retry: retry)
    }
}

extension APICountWorkflowExecutionsRequest: ServiceRequest {
    package typealias Answer = APICountWorkflowExecutionsResponse
}
extension APICreateScheduleRequest: ServiceRequest {
    package typealias Answer = APICreateScheduleResponse
}
extension APIDeleteScheduleRequest: ServiceRequest {
    package typealias Answer = APIDeleteScheduleResponse
}
extension APIDescribeScheduleRequest: ServiceRequest {
    package typealias Answer = APIDescribeScheduleResponse
}
extension APIDescribeWorkflowExecutionRequest: ServiceRequest {
    package typealias Answer = APIDescribeWorkflowExecutionResponse
}
extension APIExecuteMultiOperationRequest: ServiceRequest {
    package typealias Answer = APIExecuteMultiOperationResponse
}
extension APIGetWorkflowExecutionHistoryRequest: ServiceRequest {
    package typealias Answer = APIGetWorkflowExecutionHistoryResponse
}
extension APIListSchedulesRequest: ServiceRequest {
    package typealias Answer = APIListSchedulesResponse
}
extension APIListWorkflowExecutionsRequest: ServiceRequest {
    package typealias Answer = APIListWorkflowExecutionsResponse
}
extension APIPatchScheduleRequest: ServiceRequest {
    package typealias Answer = APIPatchScheduleResponse
}
extension APIPollActivityTaskQueueRequest: ServiceRequest {
    package typealias Answer = APIPollActivityTaskQueueResponse
}
extension APIPollWorkflowExecutionUpdateRequest: ServiceRequest {
    package typealias Answer = APIPollWorkflowExecutionUpdateResponse
}
extension APIPollWorkflowTaskQueueRequest: ServiceRequest {
    package typealias Answer = APIPollWorkflowTaskQueueResponse
}
extension APIQueryWorkflowRequest: ServiceRequest {
    package typealias Answer = APIQueryWorkflowResponse
}
extension APIRecordActivityTaskHeartbeatRequest: ServiceRequest {
    package typealias Answer = APIRecordActivityTaskHeartbeatResponse
}
extension APIRecordActivityTaskHeartbeatByIdRequest: ServiceRequest {
    package typealias Answer = APIRecordActivityTaskHeartbeatByIdResponse
}
extension APIRequestCancelWorkflowExecutionRequest: ServiceRequest {
    package typealias Answer = APIRequestCancelWorkflowExecutionResponse
}
extension APIRespondActivityTaskCanceledRequest: ServiceRequest {
    package typealias Answer = APIRespondActivityTaskCanceledResponse
}
extension APIRespondActivityTaskCanceledByIdRequest: ServiceRequest {
    package typealias Answer = APIRespondActivityTaskCanceledByIdResponse
}
extension APIRespondActivityTaskCompletedRequest: ServiceRequest {
    package typealias Answer = APIRespondActivityTaskCompletedResponse
}
extension APIRespondActivityTaskCompletedByIdRequest: ServiceRequest {
    package typealias Answer = APIRespondActivityTaskCompletedByIdResponse
}
extension APIRespondActivityTaskFailedRequest: ServiceRequest {
    package typealias Answer = APIRespondActivityTaskFailedResponse
}
extension APIRespondActivityTaskFailedByIdRequest: ServiceRequest {
    package typealias Answer = APIRespondActivityTaskFailedByIdResponse
}
extension APIRespondQueryTaskCompletedRequest: ServiceRequest {
    package typealias Answer = APIRespondQueryTaskCompletedResponse
}
extension APIRespondWorkflowTaskCompletedRequest: ServiceRequest {
    package typealias Answer = APIRespondWorkflowTaskCompletedResponse
}
extension APIRespondWorkflowTaskFailedRequest: ServiceRequest {
    package typealias Answer = APIRespondWorkflowTaskFailedResponse
}
extension APIShutdownWorkerRequest: ServiceRequest {
    package typealias Answer = APIShutdownWorkerResponse
}
extension APISignalWithStartWorkflowExecutionRequest: ServiceRequest {
    package typealias Answer = APISignalWithStartWorkflowExecutionResponse
}
extension APISignalWorkflowExecutionRequest: ServiceRequest {
    package typealias Answer = APISignalWorkflowExecutionResponse
}
extension APIStartWorkflowExecutionRequest: ServiceRequest {
    package typealias Answer = APIStartWorkflowExecutionResponse
}
extension APITerminateWorkflowExecutionRequest: ServiceRequest {
    package typealias Answer = APITerminateWorkflowExecutionResponse
}
extension APIUpdateScheduleRequest: ServiceRequest {
    package typealias Answer = APIUpdateScheduleResponse
}
extension APIUpdateWorkflowExecutionRequest: ServiceRequest {
    package typealias Answer = APIUpdateWorkflowExecutionResponse
}
