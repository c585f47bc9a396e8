import Foundation
import Proxy
import ProxyTLS
import TestSupport

/// A proxy with TLS in front, certificates of its own and an upstream that tells what it got.
struct TLSFixture {
    let proxy: ProxyServer
    let front: TLSFront
    let folder: URL
    let app: App

    var port: UInt16 { front.addresses.first?.port ?? 0 }

    static func with(_ body: (TLSFixture) async throws -> Void) async throws {
        let folder = FileManager.default.temporaryDirectory.appending(
            path: "proxy-tls-\(UUID().uuidString.prefix(8))"
        )
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }  // Nothing depends on it.
        try await makeCertificate("a.test", in: folder)
        try await makeCertificate("b.test", in: folder)
        let upstream = try EchoUpstream(path: folder.appending(path: "up.sock").path)
        defer { upstream.stop() }
        let app = App(name: "app")
        let route = RouteDecision.forward(Upstream(app: app, address: .unix(path: upstream.path)))
        let proxy = try ProxyServer(ProxyConfiguration(), router: NameRouter([:], otherwise: route))
        try proxy.start()
        let front = try TLSFront(
            TLSFront.Configuration(
                addresses: [ProxyAddress(address: "127.0.0.1", port: 0)],
                certificates: ["a.test", "b.test"].map { name in
                    CertificateFiles(
                        names: [name, "*.\(name)"],
                        chainPath: folder.appending(path: "\(name).pem").path,
                        keyPath: folder.appending(path: "\(name).key").path
                    )
                }
            ),
            proxy: proxy
        )
        try await front.start()
        do {
            try await body(TLSFixture(proxy: proxy, front: front, folder: folder, app: app))
        } catch {
            await front.stop()
            await proxy.drain(deadline: .zero)
            throw error
        }
        await front.stop()
        await proxy.drain(deadline: .zero)
    }

    static func makeCertificate(_ name: String, in folder: URL) async throws {
        try await CertificateAuthority.selfSigned(
            name,
            subject: name,
            extension: "subjectAltName=DNS:\(name),DNS:*.\(name)",
            in: folder
        )
    }

    /// curl to the front, trusting the certificate of `name`.
    func curl(_ name: String, _ arguments: String...) throws -> String {
        let host = name.split(separator: "/").first.map(String.init) ?? name
        let trusted = host.hasSuffix("b.test") ? "b.test" : "a.test"
        return try Self.run(
            [
                "curl", "--silent", "--show-error", "--max-time", "30", "--noproxy", "*", "--cacert",
                folder.appending(path: "\(trusted).pem").path, "--resolve", "\(host):\(port):127.0.0.1",
            ] + arguments
                + ["https://\(host):\(port)/\(name.split(separator: "/").dropFirst().joined(separator: "/"))"]
        ).output
    }

    /// As `run`, on a thread of its own: a long wait keeps no task from running.
    static func runAside(_ arguments: [String]) async throws -> (status: Int32, output: String) {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread { continuation.resume(with: Result { try run(arguments) }) }
        }
    }

    static func run(_ arguments: String...) throws -> (status: Int32, output: String) { try run(arguments) }

    static func run(_ arguments: [String]) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = arguments
        process.environment = ["PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": "/nonexistent"]
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: data, as: UTF8.self))
    }
}

/// Answers every request with the head and the number of bytes that it got, or `/bytes/N` with N bytes.
final class EchoUpstream: Sendable {
    let path: String
    private let listener: Int32

    init(path: String) throws {
        self.path = path
        let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        self.listener = listener
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard bound == 0, listen(listener, 256) == 0 else { throw CocoaError(.fileWriteUnknown) }
        Thread.detachNewThread {
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0 else { return }
                Thread.detachNewThread {
                    Self.serve(FileHandle(fileDescriptor: connection, closeOnDealloc: true))
                }
            }
        }
    }

    func stop() { shutdown(listener, Int32(SHUT_RDWR)) }

    private static func serve(_ connection: FileHandle) {
        var buffer = Data()
        while true {
            guard let end = buffer.range(of: Data("\r\n\r\n".utf8)) else {
                let more = connection.availableData
                if more.isEmpty { return }
                buffer.append(more)
                continue
            }
            let head = String(decoding: buffer[..<end.upperBound], as: UTF8.self)
            buffer = Data(buffer[end.upperBound...])
            var raw = Data()
            guard let count = takeBody(head.lowercased(), &buffer, &raw, connection) else { return }
            let path = head.split(separator: " ")[1]
            if head.lowercased().contains("upgrade: websocket") {
                return tunnel(connection, early: buffer)
            }
            if path == "/trailers" {
                let answer =
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 42 \r\n\r\n"
                do { try connection.write(contentsOf: Data(answer.utf8)) } catch { return }
                continue
            }
            let body =
                path.hasPrefix("/bytes/")
                ? Data(repeating: 120, count: Int(path.dropFirst(7)) ?? 0)
                : path == "/raw" ? raw : Data("\(head)body: \(count)\n".utf8)
            var answer = Data("HTTP/1.1 200 OK\r\ncontent-length: \(body.count)\r\n\r\n".utf8)
            if !head.hasPrefix("HEAD") { answer += body }
            do { try connection.write(contentsOf: answer) } catch { return }
        }
    }

    private static func takeBody(
        _ head: String,
        _ buffer: inout Data,
        _ raw: inout Data,
        _ connection: FileHandle
    )
        -> Int?
    {
        var wanted = 0
        if let range = head.range(of: "content-length: ") {
            wanted = Int(head[range.upperBound...].prefix { $0.isNumber }) ?? 0
        }
        let isChunked = head.contains("transfer-encoding: chunked")
        while buffer.count < wanted || (isChunked && !isWhole(buffer)) {
            let more = connection.availableData
            if more.isEmpty { return nil }
            buffer.append(more)
        }
        let taken = isChunked ? buffer.count : wanted
        raw = buffer.prefix(taken)
        buffer = Data(buffer.dropFirst(taken))
        return taken
    }

    /// Whether a chunked body is at its end, with or without trailers.
    private static func isWhole(_ body: Data) -> Bool {
        guard body.suffix(4) == Data("\r\n\r\n".utf8) else { return false }
        return body.prefix(3) == Data("0\r\n".utf8)
            || body.suffix(8200).range(of: Data("\r\n0\r\n".utf8)) != nil
    }

    /// Says 101, and back whatever comes.
    private static func tunnel(_ connection: FileHandle, early: Data) {
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            + "Sec-WebSocket-Accept: x\r\n\r\n"
        var data = Data(answer.utf8) + early
        while !data.isEmpty {
            do { try connection.write(contentsOf: data) } catch { return }
            data = connection.availableData
        }
    }
}
