import Foundation
package import Storage
package import Supervision
import Logging

/// A SeaweedFS server with an S3 bucket on loopback, run for as long as a test needs it.
package struct SeaweedFS: Sendable {
    package let port: Int
    package var credentials: S3Credentials { Self.credentials }
    private static let credentials = S3Credentials(
        accessKey: "testkey",
        secretKey: "testsecret12345",
        sessionToken: nil
    )
    package let bucket = "dev"
    /// The process, for tests that stop it.
    package let process: ChildProcess

    package init(port: Int, process: ChildProcess) {
        self.port = port
        self.process = process
    }

    package var endpoint: String { "http://127.0.0.1:\(port)" }

    /// What a program needs in its environment to use the bucket.
    package var environment: [String: String] { Self.environment }

    /// The same, before there is a server.
    package static var environment: [String: String] {
        [
            "AWS_ACCESS_KEY_ID": credentials.accessKey, "AWS_SECRET_ACCESS_KEY": credentials.secretKey,
            "AWS_EC2_METADATA_DISABLED": "true",
        ]
    }

    package func configuration(prefix: String = "") throws -> S3Configuration {
        try S3Configuration(
            bucket: bucket,
            prefix: prefix,
            endpoint: endpoint,
            region: "us-east-1",
            style: .path,
            credentials: credentials
        )
    }

    /// Calls `body` with a server that is ready, and stops it afterwards.
    package static func with<Result: Sendable>(
        folder: String,
        ports: [Int] = freePorts(4),
        _ body: (SeaweedFS) async throws -> Result
    ) async throws -> Result {
        let process = try start(folder: folder, ports: ports)
        let server = SeaweedFS(port: ports[0], process: process)
        do {
            try await server.waitUntilReady()
            let result = try await body(server)
            await process.stop(grace: .seconds(5))
            return result
        } catch {
            await process.stop(grace: .seconds(5))
            throw error
        }
    }

    /// Starts the server without waiting for it.
    package static func start(folder: String, ports: [Int]) throws -> ChildProcess {
        try prepare(folder: folder)
        return try ChildProcess(command(folder: folder, ports: ports, address: "127.0.0.1")) { _ in }
    }

    /// Makes the server's folder and its settings.
    package static func prepare(folder: String) throws {
        let settings = """
            {"identities": [{"name": "dev", "credentials": [{"accessKey": "testkey", "secretKey": "testsecret12345"}],
              "actions": ["Admin", "Read", "List", "Tagging", "Write"]}]}
            """
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try settings.write(toFile: "\(folder)/s3.json", atomically: true, encoding: .utf8)
    }

    /// The server's program, for a folder that was prepared.
    package static func command(folder: String, ports: [Int], address: String) -> ChildProcess.Command {
        ChildProcess.Command(
            executable: tool("weed"),
            arguments: [
                "-logdir=\(folder)", "mini", "-dir=\(folder)", "-ip=\(address)", "-ip.bind=\(address)",
                "-s3.port=\(ports[0])", "-s3.config=\(folder)/s3.json", "-master.port=\(ports[1])",
                "-volume.port=\(ports[2])", "-filer.port=\(ports[3])", "-bucket=dev", "-webdav=false",
                "-admin.ui=false",
                "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false",
            ],
            environment: ["HOME": folder],
            folder: folder
        )
    }

    package func waitUntilReady() async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while true {
            var settings = try configuration()
            settings.retry.attempts = 1
            let store = S3Store(configuration: settings, logger: Logger(label: "seaweedfs"))
            let answer: Swift.Result<Void, any Error>
            do {
                try await store.put(try ObjectKey("ready"), .string("yes"))
                answer = .success(())
            } catch { answer = .failure(error) }
            try await store.shutdown()
            if case .success = answer { return }
            guard ContinuousClock.now < deadline, process.status == nil else { return try answer.get() }
            try await Task.sleep(for: .milliseconds(100))
        }
    }
}

/// Ports on loopback that nothing listens on, all below the number that SeaweedFS adds 10,000 to.
package func freePorts(_ count: Int) -> [Int] {
    var found: [Int] = []
    while found.count < count {
        let port = Int.random(in: 20_000..<50_000)
        if !found.contains(port), canBind(port), canBind(port + 10_000) { found.append(port) }
    }
    return found
}

private func canBind(_ port: Int) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    return withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
        }
    }
}
