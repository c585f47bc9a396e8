import Archive
import AsyncHTTPClient
import Control
import Foundation
import Logging
import NIOCore
import NIOHTTP1

/// The system app that keeps the statistics of a host's apps: `Runtime/system/stats`, in a worker like any other's.
///
/// It has no name at the ingress, and its data stays on this host. The daemon speaks to it over its worker's socket.
actor StatisticsApp {
    /// What an app used between two samples; the app's `Sample`.
    struct Sample: Codable, Sendable, Equatable {
        var app: String
        var epoch: Int
        var requests: Int
        var errors: Int
        var cpuMicroseconds: Int
        var memoryBytes: Int
        var databaseBytes: Int
        var bytesIn: Int
        var bytesOut: Int
        /// Pairs of an upper bound in microseconds and a count.
        var latency: [[Int]]
    }

    /// Sums over a time; what the app's `loads` gives.
    struct Load: Codable, Sendable, Equatable {
        var app: String
        var epoch: Int
        var requests: Int
        var errors: Int
        var cpuMicroseconds: Int
        var memoryBytes: Int
        var databaseBytes: Int
        var bytesIn: Int
        var bytesOut: Int
        var p50Microseconds: Int
        var p99Microseconds: Int
    }

    /// Starts a worker with the app.
    typealias Start = @Sendable () async throws -> Instance

    private let start: Start
    private let logger: Logger
    private var instance: Instance?
    private var starting: Task<Instance, any Error>?
    private var failures = 0
    private var notBefore = ContinuousClock.now

    init(logger: Logger, start: @escaping Start) {
        self.logger = logger
        self.start = start
    }

    func keep(_ samples: [Sample]) async throws {
        _ = try await send(.POST, "/samples", JSONEncoder().encode(samples))
    }

    func loads(of milliseconds: Int) async throws -> [Load] {
        try JSONDecoder().decode(
            [Load].self,
            from: try await send(.GET, "/loads?milliseconds=\(milliseconds)", nil)
        )
    }

    func stop() async {
        await instance?.worker.stop(.shutdown, grace: .seconds(2))
        instance = nil
    }

    /// At most this many bytes of an answer are read.
    private static let maximumAnswerBytes = 16 << 20

    private func send(_ method: HTTPMethod, _ path: String, _ body: Data?) async throws -> Data {
        let instance = try await running()
        let socket =
            instance.worker.socketPath.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
        var request = HTTPClientRequest(url: "http+unix://\(socket)\(path)")
        request.method = method
        request.headers.add(name: "Host", value: "stats.martlet.internal")
        if let body { request.body = .bytes(ByteBuffer(bytes: body)) }
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(10))
        let answer = try await response.body.collect(upTo: Self.maximumAnswerBytes)
        guard (200..<300).contains(response.status.code) else {
            throw MartletError(
                .internal,
                "the app of statistics answers \(response.status.code): \(String(buffer: answer))"
            )
        }
        return Data(answer.readableBytesView)
    }

    /// The worker that runs, or a new one; after failures only after a pause.
    private func running() async throws -> Instance {
        if let instance, instance.worker.end.value == nil { return instance }
        if let starting { return try await starting.value }
        guard ContinuousClock.now >= notBefore else {
            throw MartletError(.unavailable, "the app of statistics has failed and is started again later")
        }
        await instance?.worker.destroy()
        instance = nil
        let task = Task { try await self.start() }
        starting = task
        defer { starting = nil }
        do {
            let instance = try await task.value
            self.instance = instance
            failures = 0
            return instance
        } catch {
            failures += 1
            notBefore = .now + min(.seconds(1) * (1 << min(failures, 6)), .seconds(60))
            logger.warning("the app of statistics did not start", metadata: ["error": "\(error)"])
            throw error
        }
    }
}
