public import SwiftProtobuf
import TemporalAPI

import struct Foundation.Data

/// A gRPC call that failed: the status that the server answered with, or what happened on the way to it.
public struct RPCError: Error, Sendable, CustomStringConvertible {
    /// gRPC's status codes (https://grpc.io/docs/guides/status-codes/).
    public enum Code: Int, Sendable {
        case ok = 0
        case cancelled, unknown, invalidArgument, deadlineExceeded, notFound, alreadyExists, permissionDenied
        case resourceExhausted, failedPrecondition, aborted, outOfRange, unimplemented, `internal`,
            unavailable
        case dataLoss, unauthenticated
    }

    public var code: Code
    public var message: String
    /// The `google.rpc.Status` that came with the error, serialized; empty without one.
    public var details: [UInt8]

    public init(code: Code, message: String, details: [UInt8] = []) {
        self.code = code
        self.message = message
        self.details = details
    }

    public var description: String { "\(code): \(message)" }

    /// The first of the error's details that is a message of this type.
    public func detail<Detail: Message>(_ type: Detail.Type = Detail.self) -> Detail? {
        // google.rpc.Status has the fields 1 code, 2 message and 3 details, as this message of Temporal's has.
        // Details that cannot be read tell nothing; the status code stands without them.
        let status = try? APIMultiOperationExecutionFailure.OperationStatus(serializedBytes: details)
        return status?.details.lazy.compactMap { $0.isA(Detail.self) ? try? Detail(unpackingAny: $0) : nil }
            .first
    }

    /// Whether another attempt may succeed where this one failed.
    package var isRetryable: Bool {
        switch code {
        case .unavailable, .resourceExhausted, .aborted, .internal, .unknown, .dataLoss, .outOfRange: true
        default: false
        }
    }
}
