public import Logging
public import NIOCore
public import NIOPosix
package import SwiftProtobuf
public import TemporalAPI

import Synchronization

/// A connection to a Temporal frontend, shared by any number of clients and workers.
///
/// It connects when the first call needs it and connects again after a loss. Calls whose failure says that another
/// attempt may succeed are made again, with growing waits, until their timeout.
public final class TemporalConnection: Sendable {
    public let configuration: Configuration
    package let logger: Logger
    /// For tasks that do little else than call the server.
    let executor: LoopExecutor
    private let link: Link
    private let metadata: Mutex<[(String, String)]>

    public init(
        _ configuration: Configuration = Configuration(),
        logger: Logger? = nil,
        eventLoopGroup: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) {
        let logger = logger ?? Logger(label: "temporal")
        self.configuration = configuration
        self.logger = logger
        let loop = eventLoopGroup.next()
        executor = LoopExecutor(loop)
        link = Link(configuration, logger: logger, loop: loop)
        metadata = Mutex(Self.metadata(configuration, apiKey: configuration.apiKey))
        if configuration.apiKey != nil, configuration.effectiveTLS == nil {
            logger.warning("the API key is sent without TLS: whoever sees the traffic can use it")
        }
    }

    public var namespace: String { configuration.namespace }
    public var identity: String { configuration.identity }

    /// Replaces the API key, for keys that are renewed; calls in flight keep the old one.
    public func setAPIKey(_ key: String?) {
        let renewed = Self.metadata(configuration, apiKey: key)
        metadata.withLock { $0 = renewed }
    }

    /// Asks the server for its version: a quick way to learn whether it is there and lets this client in.
    ///
    /// - Throws: ``RPCError`` that says what was tried, when there is no answer within `timeout`.
    @discardableResult
    public func connect(timeout: Duration = .seconds(10)) async throws -> APIGetSystemInfoResponse {
        try await call("GetSystemInfo", APIGetSystemInfoRequest(), timeout: timeout)
    }

    /// Closes the connection.
    ///
    /// Calls in flight and later ones fail with `cancelled`.
    public func close() async {
        await link.close()
    }

    /// Makes a call in the connection's namespace.
    ///
    /// - Throws: ``RPCError``, or `CancellationError` when the task was cancelled.
    package func call<Request: ServiceRequest>(
        _ request: consuming Request,
        timeout: Duration = .seconds(30),
        retry: CallRetry = .standard
    ) async throws -> Request.Answer {
        request.namespace = namespace
        return try await call(path: Request.path, request, timeout: timeout, retry: retry)
    }

    /// Makes a unary call of a method of WorkflowService (or another service of the frontend).
    ///
    /// - Throws: ``RPCError``, or `CancellationError` when the task was cancelled.
    package func call<Request: Message & Sendable, Response: Message & Sendable>(
        _ method: String,
        _ request: Request,
        timeout: Duration = .seconds(30),
        retry: CallRetry = .standard,
        service: String = "temporal.api.workflowservice.v1.WorkflowService",
        as: Response.Type = Response.self
    ) async throws -> Response {
        try await call(path: "/\(service)/\(method)", request, timeout: timeout, retry: retry)
    }

    private func call<Request: Message & Sendable, Response: Message & Sendable>(
        path: String,
        _ request: Request,
        timeout: Duration,
        retry: CallRetry
    ) async throws -> Response {
        let frame: MessageFrame = try request.serializedBytes()
        let deadline = NIODeadline.now() + TimeAmount(timeout)
        var failures = 0
        var last: RPCError?
        while true {
            let left = deadline - .now()
            if let last, left <= .zero { throw last.summarized(failures, timeout) }
            let attempt = retry == .standard ? min(left, TimeAmount(configuration.attemptTimeout)) : left
            do {
                let answer = try await link.send(
                    path: path,
                    request: frame.buffer,
                    metadata: metadata.withLock { $0 },
                    timeout: attempt
                )
                guard let frame = MessageFrame(received: answer) else {
                    throw RPCError(code: .internal, message: "the answer to \(path) is not a gRPC message")
                }
                guard frame.count > Self.longAnswerBytes else { return try Self.decode(frame) }
                return try await withTaskExecutorPreference(globalConcurrentExecutor) {
                    try await Self.decodeElsewhere(frame)
                }
            } catch let error as RPCError {
                if error.code == .cancelled, Task.isCancelled { throw CancellationError() }
                failures += 1
                if error.code == .deadlineExceeded, attempt == left {
                    // What went wrong before says more than that the time is over, unless the call was to wait.
                    guard retry == .standard, let last else { throw error }
                    throw last.summarized(failures, timeout)
                }
                guard retry != .none, error.isRetryable || error.code == .deadlineExceeded else {
                    throw error
                }
                let delay = configuration.backoff.delay(
                    failures: failures,
                    overloaded: error.code == .resourceExhausted,
                    random: .random(in: 0..<1)
                )
                guard .now() + TimeAmount(delay) < deadline else { throw error.summarized(failures, timeout) }
                logger.debug(
                    "call failed, will be made again",
                    metadata: ["method": "\(path)", "error": "\(error)", "attempt": "\(failures)"]
                )
                last = error
                try await Task.sleep(for: delay)
            }
        }
    }

    /// Answers longer than this are not decoded on the event loop, which other calls need.
    private static let longAnswerBytes = 256 << 10

    private static func decode<Response: Message>(_ frame: MessageFrame) throws -> Response {
        var options = BinaryDecodingOptions()
        // Nothing is sent back as it came.
        options.discardUnknownFields = true
        return try Response(serializedBytes: frame, options: options)
    }

    @concurrent
    private static func decodeElsewhere<Response: Message & Sendable>(
        _ frame: MessageFrame
    ) async throws -> Response {
        try decode(frame)
    }

    private static func metadata(_ configuration: Configuration, apiKey: String?) -> [(String, String)] {
        var metadata = [("client-name", "temporal-swift"), ("client-version", TemporalLibrary.version)]
        if let apiKey {
            metadata.append(("authorization", "Bearer \(apiKey)"))
            metadata.append(("temporal-namespace", configuration.namespace))
        }
        return metadata
    }
}

extension RPCError {
    /// The error with how often and how long the call was tried, where that was more than once.
    fileprivate func summarized(_ attempts: Int, _ time: Duration) -> RPCError {
        guard attempts > 1 else { return self }
        return RPCError(code: code, message: "\(message) (\(attempts) attempts in \(time))", details: details)
    }
}
