import AsyncHTTPClient
import Crypto
import FoundationEssentials
package import Logging
import NIOCore
import NIOHTTP1
import Synchronization

/// An object store in a bucket of Amazon S3 or a server that speaks its protocol, conditional writes included.
///
/// Bodies go signed with their SHA-256, which the server checks; objects written in one piece carry it as metadata
/// too, which is checked when they are read whole. Larger bodies go as multipart uploads. Requests that fail with a
/// status from 500, `SlowDown` or no answer are tried again as the `RetryPolicy` says.
package final class S3Store: ObjectStore {
    package let configuration: S3Configuration
    let client: S3Client
    let logger: Logger

    package var location: String {
        "s3://\(configuration.bucket)/\(configuration.prefix) at \(configuration.scheme)://\(configuration.authority)"
    }

    package init(configuration: S3Configuration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
        client = S3Client(configuration: configuration, logger: logger)
    }

    /// Closes the connections.
    ///
    /// No call may be made afterwards.
    package func shutdown() async throws {
        try await client.shutdown()
    }

    package func put(_ key: ObjectKey, _ body: ObjectBody, if condition: WriteCondition) async throws -> ETag
    {
        var pieces = ByteBuffer()
        let upload = PartUpload(store: self, key: key, condition: condition)
        do {
            try await body.forEachPiece(pieceBytes: 1 << 20) { piece in
                pieces.writeImmutableBuffer(piece)
                while pieces.readableBytes > configuration.partBytes,
                    let part = pieces.readSlice(length: configuration.partBytes)
                {
                    try await upload.add(part)
                    pieces.discardReadBytes()
                }
            }
            guard await upload.isStarted else { return try await putWhole(key, pieces, if: condition) }
            try await upload.add(pieces)
            return try await upload.complete()
        } catch {
            await upload.abort()
            throw error
        }
    }

    package func get(_ key: ObjectKey, range: Range<Int64>?) async throws -> StoredObject {
        if let range, range.isEmpty { return try await emptyContent(of: key) }
        let (response, info) = try await open(key, range: range, matching: nil)
        var expected: String?
        if range == nil { expected = response.headers.first(name: Self.checksumHeader) }
        let length = response.headers.first(name: "content-length").flatMap { Int64($0) }
        let content = S3Content(
            store: self,
            key: key,
            info: info,
            body: response.body,
            start: range?.lowerBound ?? 0,
            length: length,
            expectedHash: expected
        )
        return StoredObject(info: info, content: ObjectContent { try await content.next() })
    }

    package func head(_ key: ObjectKey) async throws -> ObjectInfo? {
        let request = S3Request(method: .HEAD, key: key, action: "look at \(key)")
        let response = try await client.send(request, accepting: [404])
        return response.status == 404 ? nil : try info(of: key, response.headers)
    }

    package func delete(_ key: ObjectKey) async throws {
        let request = S3Request(method: .DELETE, key: key, action: "remove \(key)")
        _ = try await client.send(request, accepting: [404])
    }

    package func list(prefix: String, after: ObjectKey?, limit: Int) async throws -> ObjectPage {
        var query = [
            ("list-type", "2"), ("encoding-type", "url"), ("prefix", configuration.prefix + prefix),
            ("max-keys", "\(max(1, min(limit, 1000)))"),
        ]
        if let after { query.append(("start-after", configuration.prefix + after.path)) }
        let request = S3Request(method: .GET, query: query, action: "list \(prefix)")
        let text = try await client.send(request).text()
        guard let result = XMLReader.parse(text), result.name == "ListBucketResult" else {
            throw StorageError(.unexpected, "list \(prefix): \(location) answered with no listing")
        }
        let isEncoded = result["EncodingType"] == "url"
        let objects = try result.all("Contents").compactMap { try listed($0, isEncoded: isEncoded) }
        return ObjectPage(objects: objects, isLast: result["IsTruncated"] != "true")
    }

    package func copy(_ source: ObjectKey, to target: ObjectKey) async throws {
        var request = S3Request(method: .PUT, key: target, action: "copy \(source) to \(target)")
        request.headers = [("x-amz-copy-source", copySource(source))]
        do {
            let text = try await client.send(request).text()
            // S3 may answer 200 and say in the body that it failed.
            if text.contains("<Error>") {
                throw S3Failure(status: 500, body: text).error(action: request.action, location: location)
            }
        } catch let error as StorageError where error.code == .invalid {
            // Objects above 5 GB can be copied only in parts.
            try await copyInParts(source, to: target, partBytes: 512 << 20)
        }
    }

    // MARK: - Pieces of requests

    static let checksumHeader = "x-amz-meta-sha256"

    static func headers(for condition: WriteCondition) -> [(String, String)] {
        switch condition {
        case .always: []
        case .absent: [("if-none-match", "*")]
        case .matches(let etag): [("if-match", etag.value)]
        }
    }

    func copySource(_ key: ObjectKey) -> String {
        S3Signer.encode("/\(configuration.bucket)/\(configuration.prefix)\(key.path)", keepingSlashes: true)
    }

    func etag(in headers: HTTPHeaders, action: String) throws -> ETag {
        guard let value = headers.first(name: "etag") else {
            throw StorageError(.unexpected, "\(action): \(location) answered without an ETag")
        }
        return ETag(value)
    }

    /// Opens a whole object or a range of it; `matching` makes sure that it is still the same version.
    func open(
        _ key: ObjectKey,
        range: Range<Int64>?,
        matching etag: ETag?
    ) async throws -> (response: S3Response, info: ObjectInfo) {
        var request = S3Request(method: .GET, key: key, action: "read \(key)")
        if let range {
            request.headers.append(("range", "bytes=\(range.lowerBound)-\(range.upperBound - 1)"))
        }
        if let etag { request.headers.append(("if-match", etag.value)) }
        let response = try await client.send(request)
        return (response, try info(of: key, response.headers))
    }

    private func emptyContent(of key: ObjectKey) async throws -> StoredObject {
        guard let info = try await head(key) else {
            throw StorageError(.notFound, "read \(key): there is no such object")
        }
        return StoredObject(info: info, content: ObjectContent { nil })
    }

    private func putWhole(
        _ key: ObjectKey,
        _ bytes: ByteBuffer,
        if condition: WriteCondition
    ) async throws -> ETag {
        var request = S3Request(method: .PUT, key: key, body: bytes, action: "write \(key)")
        request.headers = Self.headers(for: condition)
        request.headers.append((Self.checksumHeader, SHA256.hexDigest(bytes)))
        let response = try await client.send(request, accepting: condition == .always ? [] : [412, 404])
        if response.status < 300 { return try etag(in: response.headers, action: request.action) }
        // An earlier try may have been carried out before its answer was lost; then the object is what was to be
        // written. Whoever needs to know its own write from an equal one puts something unique into it.
        if response.wasRetriedBlindly, let found = try await find(key) {
            // Fails where it is larger: another's.
            let current = try? await found.bytes(upTo: bytes.readableBytes)
            if current == bytes, let etag = found.info.etag { return etag }
        }
        throw StorageError(.conditionFailed, "write \(key): \(Self.explanation(of: condition))")
    }

    static func explanation(of condition: WriteCondition) -> String {
        switch condition {
        case .always: "the store refused an unconditional write"
        case .absent: "it exists already"
        case .matches(let etag): "it is no longer version \(etag)"
        }
    }

    private func info(of key: ObjectKey, _ headers: HTTPHeaders) throws -> ObjectInfo {
        let total = headers.first(name: "content-range")?.split(separator: "/").last.flatMap { Int64($0) }
        let size = total ?? headers.first(name: "content-length").flatMap { Int64($0) } ?? 0
        let modified =
            headers.first(name: "last-modified").flatMap(HTTPDate.parse) ?? Date(timeIntervalSince1970: 0)
        let etag = try etag(in: headers, action: "look at \(key)")
        return ObjectInfo(key: key, sizeBytes: size, modified: modified, etag: etag)
    }

    private func listed(_ element: XMLReader.Element, isEncoded: Bool) throws -> ObjectInfo? {
        guard let name = element["Key"], let size = element["Size"].flatMap({ Int64($0) }) else {
            throw StorageError(.unexpected, "list: \(location) answered with an object without key or size")
        }
        let full = isEncoded ? Self.decoded(name) : name
        // Folders that some servers list end with a slash, and are no objects of this store.
        guard full.hasPrefix(configuration.prefix), !full.hasSuffix("/"),
            let key = try? ObjectKey(String(full.dropFirst(configuration.prefix.count)))
        else { return nil }
        let modified = element["LastModified"].flatMap(HTTPDate.parse) ?? Date(timeIntervalSince1970: 0)
        return ObjectInfo(key: key, sizeBytes: size, modified: modified, etag: nil)
    }

    private static func decoded(_ text: String) -> String {
        var out: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "+") {
                out.append(UInt8(ascii: " "))
            } else if byte == UInt8(ascii: "%"), rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            {
                out.append(value)
                rest = rest.dropFirst(2)
            } else {
                out.append(byte)
            }
        }
        return String(decoding: out, as: UTF8.self)
    }
}
