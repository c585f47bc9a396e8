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
        let result = APIPayloads(
            try await client.converter.encode([client.converter.payloads.encode(result)])
        )
        _ = try await send(
            APIRespondActivityTaskCompletedRequest.with { $0.result = result },
            APIRespondActivityTaskCompletedByIdRequest.with { $0.result = result }
        )
    }

    /// Fails the activity; the workflow's retry policy decides what follows.
    public func fail(_ error: any Error) async throws {
        let failure = try await client.converter.failure(of: error)
        _ = try await send(
            APIRespondActivityTaskFailedRequest.with { $0.failure = failure },
            APIRespondActivityTaskFailedByIdRequest.with { $0.failure = failure }
        )
    }

    /// Says that the activity ended because its cancellation was asked for.
    public func reportCancellation(details: [any Encodable & Sendable] = []) async throws {
        let details = try await encode(details)
        _ = try await send(
            APIRespondActivityTaskCanceledRequest.with { if let details { $0.details = details } },
            APIRespondActivityTaskCanceledByIdRequest.with { if let details { $0.details = details } }
        )
    }

    /// Says that the activity is alive.
    ///
    /// - Returns: whether its cancellation was asked for.
    @discardableResult
    public func heartbeat(details: [any Encodable & Sendable] = []) async throws -> Bool {
        let details = try await encode(details)
        let (answer, otherAnswer) = try await send(
            APIRecordActivityTaskHeartbeatRequest.with { if let details { $0.details = details } },
            APIRecordActivityTaskHeartbeatByIdRequest.with { if let details { $0.details = details } }
        )
        return answer?.cancelRequested ?? otherAnswer?.cancelRequested ?? false
    }

    private func encode(_ details: [any Encodable & Sendable]) async throws -> APIPayloads? {
        let payloads = try await client.converter.encode(client.converter.payloads.encode(all: details))
        return payloads.isEmpty ? nil : APIPayloads(payloads)
    }

    /// Sends the one of two requests that fits the reference.
    private func send<ByToken: RequestByToken, ByID: RequestByID>(
        _ byToken: ByToken,
        _ byID: ByID
    ) async throws -> (ByToken.Answer?, ByID.Answer?) {
        switch reference {
        case .token(let token):
            var request = byToken
            request.taskToken = token
            request.identity = client.connection.identity
            return (try await client.connection.call(request, timeout: client.callTimeout), nil)
        case .id(let workflowID, let runID, let activityID):
            var request = byID
            request.workflowID = workflowID
            request.runID = runID ?? ""
            request.activityID = activityID
            request.identity = client.connection.identity
            return (nil, try await client.connection.call(request, timeout: client.callTimeout))
        }
    }
}

extension TemporalClient {
    /// An activity to finish from here.
    public func activity(_ reference: AsyncActivityHandle.Reference) -> AsyncActivityHandle {
        AsyncActivityHandle(client: self, reference: reference)
    }
}

/// What a worker, or somebody in its place, says of an activity that it was handed.
protocol RequestByToken: ServiceRequest {
    var taskToken: Data { get set }
    var identity: String { get set }
}

private protocol RequestByID: ServiceRequest {
    var workflowID: String { get set }
    var runID: String { get set }
    var activityID: String { get set }
    var identity: String { get set }
}

extension APIRespondActivityTaskCompletedRequest: RequestByToken {}
extension APIRespondActivityTaskFailedRequest: RequestByToken {}
extension APIRespondActivityTaskCanceledRequest: RequestByToken {}
extension APIRecordActivityTaskHeartbeatRequest: RequestByToken {}
extension APIRespondActivityTaskCompletedByIdRequest: RequestByID {}
extension APIRespondActivityTaskFailedByIdRequest: RequestByID {}
extension APIRespondActivityTaskCanceledByIdRequest: RequestByID {}
extension APIRecordActivityTaskHeartbeatByIdRequest: RequestByID {}
