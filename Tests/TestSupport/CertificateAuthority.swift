package import Foundation

/// A certificate authority of a test.
package struct CertificateAuthority: Sendable {
    package let folder: URL

    package init(_ folder: URL) async throws {
        self.folder = folder
        try await Self.selfSigned(
            "ca",
            subject: "Test authority",
            extension: "basicConstraints=critical,CA:TRUE",
            in: folder
        )
    }

    /// Writes `NAME.pem` and `NAME.key` with a certificate that only its own key has signed.
    package static func selfSigned(
        _ file: String,
        subject: String,
        extension: String,
        in folder: URL
    ) async throws {
        try await openssl(
            in: folder,
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=\(subject)",
            "-addext",
            `extension`,
            "-keyout",
            "\(file).key",
            "-out",
            "\(file).pem"
        )
    }

    /// Writes `NAME.pem` and `NAME.key`, in place of those that may be there.
    package func issue(_ file: String, names: [String]) async throws {
        let list = names.map { "DNS:\($0)" }.joined(separator: ",")
        try Data("subjectAltName=\(list)\n".utf8).write(to: folder.appending(path: "extensions"))
        try await Self.openssl(
            in: folder,
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            "/CN=\(file)",
            "-keyout",
            "new.key",
            "-out",
            "new.csr"
        )
        try await Self.openssl(
            in: folder,
            "x509",
            "-req",
            "-in",
            "new.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "extensions",
            "-out",
            "new.pem"
        )
        for suffix in ["key", "pem"] {
            let target = folder.appending(path: "\(file).\(suffix)")
            try? FileManager.default.removeItem(at: target)  // The first time there is none.
            try FileManager.default.moveItem(at: folder.appending(path: "new.\(suffix)"), to: target)
        }
    }

    /// curl to 127.0.0.1 whatever the name, trusting the authority alone; what it says on an error is the output.
    package func curl(_ url: String, _ arguments: String...) async throws -> String {
        let address = URL(string: url).flatMap { url in
            url.host().map { "\($0):\(url.port ?? 443):127.0.0.1" }
        }
        return try await Self.run(
            in: folder,
            "curl",
            [
                "--silent", "--show-error", "--max-time", "60", "--noproxy", "*", "--cacert", "ca.pem",
                "--resolve",
                address ?? "",
            ] + arguments + [url]
        ).output
    }

    private static func openssl(in folder: URL, _ arguments: String...) async throws {
        let (status, output) = try await run(in: folder, "openssl", arguments)
        guard status == 0 else { throw HTTPClient.Failure(description: "openssl \(arguments): \(output)") }
    }

    /// Waiting for a process blocks its thread, so it is one of its own: the host may need all others.
    private static func run(
        in folder: URL,
        _ program: String,
        _ arguments: [String]
    ) async throws -> (
        status: Int32, output: String
    ) {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread {
                continuation.resume(
                    with: Result {
                        let process = Process()
                        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
                        process.arguments = [program] + arguments
                        process.currentDirectoryURL = folder
                        process.environment = [
                            "PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": "/nonexistent",
                        ]
                        let pipe = Pipe()
                        process.standardOutput = pipe
                        process.standardError = pipe
                        try process.run()
                        let data = pipe.fileHandleForReading.readDataToEndOfFile()
                        process.waitUntilExit()
                        return (process.terminationStatus, String(decoding: data, as: UTF8.self))
                    }
                )
            }
        }
    }
}
