import Logging
import NIOCore
import NIOHTTP1

/// One multipart upload: parts are sent a few at a time, in the order in which they are added.
actor PartUpload {
    private let store: S3Store
    private let key: ObjectKey
    private let condition: WriteCondition
    private var identifier: String?
    private var sending: [Task<ETag, any Error>] = []
    private var next = 0
    /// S3's limit on the number of parts.
    private static let partLimit = 10_000

    var isStarted: Bool { identifier != nil }

    init(store: S3Store, key: ObjectKey, condition: WriteCondition) {
        self.store = store
        self.key = key
        self.condition = condition
    }

    /// Starts to send a part; waits while as many as allowed are on their way.
    func add(_ part: ByteBuffer) async throws {
        let identifier = try await start()
        guard sending.count < Self.partLimit else {
            throw StorageError(
                .invalid,
                "write \(key): more than \(Self.partLimit) parts of \(store.configuration.partBytes) bytes"
            )
        }
        let number = sending.count + 1
        // The parts on their way end with this upload: complete() and abort() wait for each of them.
        sending.append(Task { try await store.sendPart(number, of: key, upload: identifier, part) })
        while sending.count - next >= store.configuration.partsInFlight {
            _ = try await sending[next].value
            next += 1
        }
    }

    func complete() async throws -> ETag {
        var parts = ""
        for (index, task) in sending.enumerated() {
            let etag = try await task.value
            parts +=
                "<Part><PartNumber>\(index + 1)</PartNumber><ETag>\(XMLReader.escaped(etag.value))</ETag></Part>"
        }
        return try await store.completeUpload(of: key, upload: try await start(), parts: parts, if: condition)
    }

    /// Gives up: waits for the parts on their way and tells the store to forget them.
    func abort() async {
        guard let identifier else { return }
        for task in sending { task.cancel() }
        for task in sending { _ = try? await task.value }  // Their failure is why the upload is given up.
        await store.abortUpload(of: key, upload: identifier)
    }

    private func start() async throws -> String {
        if let identifier { return identifier }
        let started = try await store.startUpload(of: key)
        identifier = started
        return started
    }
}

extension S3Store {
    func startUpload(of key: ObjectKey) async throws -> String {
        let request = S3Request(
            method: .POST,
            key: key,
            query: [("uploads", "")],
            action: "start to write \(key)"
        )
        let text = try await client.send(request).text()
        guard let identifier = XMLReader.parse(text)?["UploadId"], !identifier.isEmpty else {
            throw StorageError(
                .unexpected,
                "\(request.action): \(location) answered without an upload's identifier"
            )
        }
        return identifier
    }

    func sendPart(_ number: Int, of key: ObjectKey, upload: String, _ bytes: ByteBuffer) async throws -> ETag
    {
        var request = S3Request(method: .PUT, key: key, action: "write part \(number) of \(key)")
        request.query = [("partNumber", "\(number)"), ("uploadId", upload)]
        request.body = bytes
        return try etag(in: try await client.send(request).headers, action: request.action)
    }

    func completeUpload(
        of key: ObjectKey,
        upload: String,
        parts: String,
        if condition: WriteCondition
    ) async throws -> ETag {
        var request = S3Request(method: .POST, key: key, action: "finish writing \(key)")
        request.query = [("uploadId", upload)]
        request.headers = Self.headers(for: condition) + [("content-type", "application/xml")]
        request.body = ByteBuffer(string: "<CompleteMultipartUpload>\(parts)</CompleteMultipartUpload>")
        let response = try await client.send(request, accepting: condition == .always ? [] : [412])
        guard response.status < 300 else {
            throw StorageError(.conditionFailed, "write \(key): \(Self.explanation(of: condition))")
        }
        let text = try await response.text()
        guard let result = XMLReader.parse(text), result.name != "Error", let etag = result["ETag"] else {
            throw S3Failure(status: 500, body: text).error(action: request.action, location: location)
        }
        return ETag(etag)
    }

    func abortUpload(of key: ObjectKey, upload: String) async {
        let request = S3Request(
            method: .DELETE,
            key: key,
            query: [("uploadId", upload)],
            action: "give up writing \(key)"
        )
        // A task of its own, because the caller is often being cancelled; the store's retry policy bounds it.
        await Task {
            do { _ = try await client.send(request, accepting: [404]) } catch {
                logger.notice(
                    "parts of an upload stay in the object store",
                    metadata: ["key": "\(key)", "error": "\(error)"]
                )
            }
        }.value
    }

    /// Copies by parts, as S3 requires above 5 GB.
    func copyInParts(_ source: ObjectKey, to target: ObjectKey, partBytes: Int64) async throws {
        guard let info = try await head(source), info.sizeBytes > 0 else {
            throw StorageError(
                .notFound,
                "copy \(source) to \(target): there is no such object, or it is empty"
            )
        }
        let upload = try await startUpload(of: target)
        do {
            var parts = ""
            var number = 1
            for start in stride(from: 0, to: info.sizeBytes, by: Int64.Stride(partBytes)) {
                let end = min(start + partBytes, info.sizeBytes) - 1
                var request = S3Request(method: .PUT, key: target, action: "copy part \(number) of \(source)")
                request.query = [("partNumber", "\(number)"), ("uploadId", upload)]
                request.headers = [
                    ("x-amz-copy-source", copySource(source)),
                    ("x-amz-copy-source-range", "bytes=\(start)-\(end)"),
                ]
                guard let etag = XMLReader.parse(try await client.send(request).text())?["ETag"] else {
                    throw StorageError(.unexpected, "\(request.action): \(location) answered without an ETag")
                }
                parts +=
                    "<Part><PartNumber>\(number)</PartNumber><ETag>\(XMLReader.escaped(etag))</ETag></Part>"
                number += 1
            }
            _ = try await completeUpload(of: target, upload: upload, parts: parts, if: .always)
        } catch {
            await abortUpload(of: target, upload: upload)
            throw error
        }
    }
}
