import AsyncHTTPClient
import Crypto
import FoundationEssentials
import Logging
import NIOCore
import NIOHTTP1
import Synchronization

/// One request to S3, before it is signed.
struct S3Request: Sendable {
    var method: HTTPMethod
    /// Nil for requests on the bucket.
    var key: ObjectKey?
    var query: [(String, String)] = []
    /// With lower-case names.
    var headers: [(String, String)] = []
    var body = ByteBuffer()
    /// What is tried, for errors.
    var action: String
}

/// The answer to a request that went well.
struct S3Response: Sendable {
    let status: Int
    let headers: HTTPHeaders
    let body: HTTPClientResponse.Body
    /// True when an earlier try may have been carried out although its answer was lost.
    let wasRetriedBlindly: Bool

    func text(upTo limitBytes: Int = 16 << 20) async throws -> String {
        String(buffer: try await body.collect(upTo: limitBytes))
    }
}

/// Signs and sends requests, and tries again what may succeed later.
final class S3Client: Sendable {
    let configuration: S3Configuration
    private let client: OwnedHTTPClient
    private let logger: Logger
    /// How far the server's clock is ahead, learned from a refused request.
    private let clockSkew = Mutex<TimeInterval>(0)

    init(configuration: S3Configuration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
        client = OwnedHTTPClient(
            connections: 64,
            host: configuration.host.split(separator: ":").first.map(String.init)
        )
    }

    func shutdown() async throws { try await client.shutdown() }

    /// Sends a request until it is answered with a status below 300 or one of `accepting`.
    ///
    /// - Throws: `StorageError`, never with a secret in it.
    func send(_ request: S3Request, accepting: Set<Int> = []) async throws -> S3Response {
        let policy = configuration.retry
        var wasRetriedBlindly = false
        var failures = 0
        while true {
            var problem: StorageError
            var mayRetry: Bool
            do {
                let skew = clockSkew.withLock { $0 }
                let response = try await sendOnce(request, skew: skew)
                let status = Int(response.status.code)
                if status < 300 || accepting.contains(status) {
                    return S3Response(
                        status: status,
                        headers: response.headers,
                        body: response.body,
                        wasRetriedBlindly: wasRetriedBlindly
                    )
                }
                let text = String(buffer: (try? await response.body.collect(upTo: 1 << 20)) ?? ByteBuffer())
                let failure = S3Failure(status: status, body: text)
                problem = failure.error(action: request.action, location: configuration.host)
                mayRetry = failure.isTransient
                if failure.code == "RequestTimeTooSkewed" {
                    mayRetry = learnsSkew(from: response.headers, signedWith: skew)
                    let date = response.headers.first(name: "date") ?? "unknown"
                    problem = StorageError(
                        .denied,
                        "\(problem.message); this machine's clock says \(configuration.now().ISO8601Format()), the "
                            + "store's \(date): set the one that is wrong"
                    )
                }
                if status >= 500 { wasRetriedBlindly = true }
            } catch let error as CancellationError {
                throw error
            } catch {
                if Task.isCancelled { throw CancellationError() }
                problem = StorageError(
                    .unavailable,
                    "\(request.action): \(configuration.host) did not answer",
                    cause: error
                )
                mayRetry = true
                wasRetriedBlindly = true
            }
            failures += 1
            guard mayRetry, failures < policy.attempts else { throw problem }
            logger.debug(
                "retrying a request to the object store",
                metadata: ["action": "\(request.action)", "failures": "\(failures)", "reason": "\(problem)"]
            )
            try await Task.sleep(
                for: policy.wait(afterFailures: failures, fraction: Double.random(in: 0...1))
            )
        }
    }

    private func sendOnce(_ request: S3Request, skew: TimeInterval) async throws -> HTTPClientResponse {
        var path = "/"
        if configuration.style == .path { path += "\(configuration.bucket)" }
        if let key = request.key {
            if configuration.style == .path { path += "/" }
            path += configuration.prefix + key.path
        }
        let encoded = S3Signer.encode(path, keepingSlashes: true)
        let query = S3Signer.canonicalQuery(request.query)
        let signer = S3Signer(credentials: configuration.credentials, region: configuration.region)
        let date = configuration.now().addingTimeInterval(skew)
        let signed = signer.headers(
            method: request.method.rawValue,
            path: encoded,
            query: request.query,
            headers: request.headers + [("host", configuration.host)],
            payloadHash: SHA256.hexDigest(request.body),
            date: date
        )
        let address =
            "\(configuration.scheme)://\(configuration.host)\(encoded)\(query.isEmpty ? "" : "?" + query)"
        var message = HTTPClientRequest(url: address)
        message.method = request.method
        for (name, value) in request.headers + signed {
            message.headers.replaceOrAdd(name: name, value: value)
        }
        if request.body.readableBytes > 0 || [.PUT, .POST].contains(request.method) {
            message.body = .bytes(request.body)
        }
        let timeout = configuration.requestTimeout + .seconds(request.body.readableBytes >> 18)
        return try await client.client.execute(message, timeout: .init(timeout))
    }

    /// Takes the server's clock from its answer.
    ///
    /// - Returns: whether a request that is signed by it differs from the one that was refused. That may be another request's
    ///   doing: several that were sent at once are refused at once.
    private func learnsSkew(from headers: HTTPHeaders, signedWith used: TimeInterval) -> Bool {
        guard let text = headers.first(name: "date"), let date = HTTPDate.parse(text) else { return false }
        let now = configuration.now()
        let skew = date.timeIntervalSince(now)
        let known = clockSkew.withLock { known in
            defer { known = skew }
            return known
        }
        if abs(known - skew) > 60 {
            logger.warning(
                "this machine's clock differs from the object store's, whose time requests are signed with; set it right",
                metadata: ["here": "\(now.ISO8601Format())", "store": "\(date.ISO8601Format())"]
            )
        }
        return abs(used - skew) > 60
    }
}

/// An answer that says no.
struct S3Failure {
    let status: Int
    /// S3's name for the problem, such as `SlowDown`; empty when the answer has none.
    let code: String
    let detail: String

    init(status: Int, body: String) {
        let error = XMLReader.parse(body)
        self.status = status
        code = error?["Code"] ?? ""
        detail = error?["Message"] ?? ""
    }

    /// 409 is S3's answer to conditional writes that met each other.
    var isTransient: Bool {
        status >= 500 || status == 429 || status == 408
            || ["SlowDown", "RequestTimeout", "ConditionalRequestConflict", "OperationAborted"].contains(code)
    }

    func error(action: String, location: String) -> StorageError {
        let kind: StorageError.Code =
            switch status {
            case 404 where code != "NoSuchBucket": .notFound
            case 412: .conditionFailed
            case 401, 403: .denied
            case 507: .full
            case 400..<500 where !isTransient: .invalid
            default: .unavailable
            }
        let reason = [code, detail].filter { !$0.isEmpty }.joined(separator: ": ")
        return StorageError(
            kind,
            "\(action): \(location) answered \(status)\(reason.isEmpty ? "" : " (\(reason))")"
        )
    }
}

extension TimeAmount {
    fileprivate init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        self = .nanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }
}
