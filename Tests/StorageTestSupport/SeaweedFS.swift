import Foundation
package import Storage
package import Supervision
import TestSupport
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
        options: [String] = [],
        _ body: (SeaweedFS) async throws -> Result
    ) async throws -> Result {
        let process = try start(folder: folder, ports: ports, options: options)
        defer { removeSockets(ports: ports) }
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
    package static func start(folder: String, ports: [Int], options: [String] = []) throws -> ChildProcess {
        try prepare(folder: folder)
        let command = command(folder: folder, ports: ports, address: "127.0.0.1", options: options)
        return try ChildProcess(command) { _ in }
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
    package static func command(
        folder: String,
        ports: [Int],
        address: String,
        options: [String] = []
    ) -> ChildProcess.Command {
        ChildProcess.Command(
            executable: tool("weed"),
            arguments: [
                "-logdir=\(folder)", "mini", "-dir=\(folder)", "-ip=\(address)", "-ip.bind=\(address)",
                "-s3.port=\(ports[0])", "-s3.config=\(folder)/s3.json", "-master.port=\(ports[1])",
                "-volume.port=\(ports[2])", "-filer.port=\(ports[3])", "-bucket=dev", "-webdav=false",
                "-admin.ui=false",
                "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false",
            ] + options,
            environment: ["HOME": folder],
            folder: folder
        )
    }

    /// Removes the sockets that the server leaves in the system's temporary folder, whatever its own folder is: one for
    /// each port and one for the gRPC port 10,000 above it.
    package static func removeSockets(ports: [Int]) {
        for port in ports {
            for role in ["master", "volume", "filer", "s3"] {
                try? FileManager.default.removeItem(atPath: "/tmp/seaweedfs-\(role)-\(port).sock")
                try? FileManager.default.removeItem(
                    atPath: "/tmp/seaweedfs-\(role)-grpc-\(port + 10_000).sock"
                )
            }
        }
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
