import TemporalAPI

public import struct Foundation.Data
import SwiftProtobuf

/// An activity that is finished by somebody else than the worker that began it.
public struct AsyncActivityHandle: Sendable {
    /// Which activity.
    public enum Reference: Sendable {
        /// The token that the activity's context gave.
        case token(Data)
        case id(workflowID: String, runID: String?, activityID: String)
    }

    public let client: TemporalClient
    public let reference: Reference

    /// Finishes the activity with a result.
    public func complete(_ result: some Encodable & Sendable) async throws {
        let payloads = try await client.converter.encode([client.converter.payloads.encode(result)])
        switch reference {
        case .token(let token):
            let request = APIRespondActivityTaskCompletedRequest.with {
                $0.namespace = client.namespace
                $0.taskToken = token
                $0.result = APIPayloads(payloads)
                $0.identity = client.connection.identity
            }
            let _: APIRespondActivityTaskCompletedResponse = try await call(
                "RespondActivityTaskCompleted",
                request
            )
        case .id(let workflowID, let runID, let activityID):
            let request = APIRespondActivityTaskCompletedByIdRequest.with {
                $0.namespace = client.namespace
                $0.workflowID = workflowID
                $0.runID = runID ?? ""
                $0.activityID = activityID
                $0.result = APIPayloads(payloads)
                $0.identity = client.connection.identity
            }
            let _: APIRespondActivityTaskCompletedByIdResponse = try await call(
                "RespondActivityTaskCompletedById",
                request
            )
        }
    }

    /// Fails the activity; the workflow's retry policy decides what follows.
    public func fail(_ error: any Error) async throws {
        let failure = try await client.converter.failure(of: error)
        switch reference {
        case .token(let token):
            let request = APIRespondActivityTaskFailedRequest.with {
                $0.namespace = client.namespace
                $0.taskToken = token
                $0.failure = failure
                $0.identity = client.connection.identity
            }
            let _: APIRespondActivityTaskFailedResponse = try await call("RespondActivityTaskFailed", request)
        case .id(let workflowID, let runID, let activityID):
            let request = APIRespondActivityTaskFailedByIdRequest.with {
                $0.namespace = client.namespace
                $0.workflowID = workflowID
                $0.runID = runID ?? ""
                $0.activityID = activityID
                $0.failure = failure
                $0.identity = client.connection.identity
            }
            let _: APIRespondActivityTaskFailedByIdResponse = try await call(
                "RespondActivityTaskFailedById",
                request
            )
        }
    }

    /// Says that the activity ended because its cancellation was asked for.
    public func reportCancellation(details: [any Encodable & Sendable] = []) async throws {
        let details = try await client.converter.encode(client.converter.payloads.encode(all: details))
        switch reference {
        case .token(let token):
            let request = APIRespondActivityTaskCanceledRequest.with {
                $0.namespace = client.namespace
                $0.taskToken = token
                if !details.isEmpty { $0.details = APIPayloads(details) }
                $0.identity = client.connection.identity
            }
            let _: APIRespondActivityTaskCanceledResponse = try await call(
                "RespondActivityTaskCanceled",
                request
            )
        case .id(let workflowID, let runID, let activityID):
            let request = APIRespondActivityTaskCanceledByIdRequest.with {
                $0.namespace = client.namespace
                $0.workflowID = workflowID
                $0.runID = runID ?? ""
                $0.activityID = activityID
                if !details.isEmpty { $0.details = APIPayloads(details) }
                $0.identity = client.connection.identity
            }
            let _: APIRespondActivityTaskCanceledByIdResponse = try await call(
                "RespondActivityTaskCanceledById",
                request
            )
        }
    }

    /// Says that the activity is alive.
    ///
    /// - Returns: whether its cancellation was asked for.
    @discardableResult
    public func heartbeat(details: [any Encodable & Sendable] = []) async throws -> Bool {
        let details = try await client.converter.encode(client.converter.payloads.encode(all: details))
        switch reference {
        case .token(let token):
            let request = APIRecordActivityTaskHeartbeatRequest.with {
                $0.namespace = client.namespace
                $0.taskToken = token
                if !details.isEmpty { $0.details = APIPayloads(details) }
                $0.identity = client.connection.identity
            }
            let response: APIRecordActivityTaskHeartbeatResponse = try await call(
                "RecordActivityTaskHeartbeat",
                request
            )
            return response.cancelRequested
        case .id(let workflowID, let runID, let activityID):
            let request = APIRecordActivityTaskHeartbeatByIdRequest.with {
                $0.namespace = client.namespace
                $0.workflowID = workflowID
                $0.runID = runID ?? ""
                $0.activityID = activityID
                if !details.isEmpty { $0.details = APIPayloads(details) }
                $0.identity = client.connection.identity
            }
            let response: APIRecordActivityTaskHeartbeatByIdResponse = try await call(
                "RecordActivityTaskHeartbeatById",
                request
            )
            return response.cancelRequested
        }
    }

    private func call<Request: Message & Sendable, Response: Message & Sendable>(
        _ method: String,
        _ request: Request
    ) async throws -> Response {
        try await client.connection.call(method, request, timeout: client.callTimeout)
    }
}

extension TemporalClient {
    /// An activity to finish from here.
    public func activity(_ reference: AsyncActivityHandle.Reference) -> AsyncActivityHandle {
        AsyncActivityHandle(client: self, reference: reference)
    }
}
