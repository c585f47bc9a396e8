import Control
@testable import Daemon
import Foundation
import Logging
import TestSupport
import Testing

/// What goes wrong, with real workers: each time a clear message, and nothing else suffers.
@Suite(.serialized) struct HostFaultTests {
    /// The error of a deployment that must fail.
    private func failure(
        _ host: HostFixture,
        _ files: [String: String],
        app: String = "broken"
    ) async throws -> MartletError {
        do {
            try await host.deploy(app, files)
        } catch let error as MartletError {
            return error
        }
        throw HTTPClient.Failure(description: "the deployment succeeded")
    }

    @Test func `scripts that do not start are refused with their own error`() async throws {
        try await HostFixture.with { host in
            let throwing = try await failure(host, ["main.ts": "\nthrow new Error(\"no luck today\");\n"])
            #expect(throwing.code == .checkFailed)
            #expect(throwing.message.contains("no luck today"), "\(throwing.message)")
            let syntax = try await failure(host, ["main.ts": "export default { fetch( };\n"])
            #expect(syntax.code == .checkFailed)
            #expect(syntax.message.contains("main.ts"), "\(syntax.message)")
            let exiting = try await failure(host, ["main.ts": "Deno.exit(3);\n"])
            #expect(exiting.code == .checkFailed, "\(exiting.message)")
            let contract = try await failure(host, ["main.ts": "export default 1;\n"])
            #expect(contract.code == .checkFailed, "\(contract.message)")
            #expect(try await host.daemon.applications().isEmpty)
            #expect(try await host.send(to: "broken").status == 404)
        }
        // For those that never come to an end.
        try await HostFixture.with {
            $0.timeouts.start = .seconds(2)
        } _: { host in
            let hanging = try await failure(host, ["main.ts": "await new Promise(() => {});\n"])
            #expect(hanging.code == .checkFailed, "\(hanging.message)")
            let looping = try await failure(host, ["main.ts": "while (true);\n"])
            #expect(looping.code == .checkFailed, "\(looping.message)")
            #expect(try await host.daemon.applications().isEmpty)
        }
    }

    @Test func `uploads that are no apps are refused`() async throws {
        try await HostFixture.with { host in
            #expect(try await failure(host, ["readme.md": "x"]).code == .invalidSettings)
            let settings = try await failure(
                host,
                ["main.ts": "", "martlet.json": "{\n  \"limits\": { \"memory\": true }\n}"]
            )
            #expect(settings.code == .invalidSettings)
            #expect(settings.message.contains("martlet.json:2:"), "\(settings.message)")
            let missing = try await failure(
                host,
                ["main.ts": "", "martlet.json": "{ \"main\": \"other.ts\" }"]
            )
            #expect(missing.message.contains("other.ts"))
            let file = host.folder.appending(path: "no-archive.tar.gz")
            try Data("this is no archive".utf8).write(to: file)
            do {
                _ = try await host.daemon.deploy(
                    Upload(name: ApplicationID("broken"), archive: file, owner: .local)
                ) { _ in }
                Issue.record("it was accepted")
            } catch let error as MartletError {
                #expect(error.code == .invalidArchive)
            }
            let bomb = host.folder.appending(path: "bomb.tar.gz")
            // A main that is there, and a file that would be a pebibyte.
            _ = try await run(
                "/usr/bin/env",
                [
                    "python3", "-c",
                    """
                    import gzip, sys, tarfile
                    main = tarfile.TarInfo("main.ts")
                    large = tarfile.TarInfo("large"); large.size = 1 << 50
                    open(sys.argv[1], "wb").write(gzip.compress(main.tobuf() + large.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)))
                    """,
                    bomb.path,
                ],
                environment: ["PATH": "/usr/bin:/bin"]
            )
            let exploded = await #expect(throws: MartletError.self) {
                try await host.daemon.deploy(
                    Upload(name: ApplicationID("broken"), archive: bomb, owner: .local)
                ) { _ in }
            }
            #expect(exploded?.code == .tooLarge, "\(exploded?.message ?? "")")
            let staged = host.folder.path + "/state/staging"
            #expect(try FileManager.default.contentsOfDirectory(atPath: staged).isEmpty)
            let unnamed = try host.upload(nil, Apps.saying("x"))
            await #expect(throws: MartletError.self) { try await host.daemon.deploy(unnamed) { _ in } }
        }
    }

    @Test func `a version that fails leaves the old one in place`() async throws {
        try await HostFixture.with { host in
            try await host.deploy("site", Apps.saying("good"))
            let error = try await failure(host, ["main.ts": "throw new Error(\"bad version\");"], app: "site")
            #expect(error.message.contains("bad version"))
            #expect(try await host.send(to: "site").body == "good")
            #expect(try await host.daemon.versions(of: ApplicationID(validating: "site")).count == 1)
        }
    }

    @Test func `an unknown name gets a helpful answer`() async throws {
        try await HostFixture.with { host in
            let answer = try await host.send(to: "nobody")
            #expect(answer.status == 404)
            #expect(answer.body.contains("martlet apps"))
            #expect(answer.body.contains("nobody"))
        }
    }

    @Test
    func `a worker that is killed while it answers gives 502 with a reason, and the next request works`()
        async throws
    {
        try await HostFixture.with { host in
            try await host.deploy("odd", Apps.odd)
            let app = try ApplicationID(validating: "odd")
            let slow = Task { try await host.send("GET", "/slow", to: "odd") }
            try await HostFixture.wait("the request runs") {
                try await host.daemon.application(app).activeRequests == 1
            }
            try await host.daemon.killWorkers(of: app)
            let answer = try await slow.value
            #expect(answer.status == 502)
            #expect(answer.body.contains("worker_ended"), "\(answer.body)")
            // Until its end is noticed, a request can still be caught in the dying worker, with the same answer.
            try await HostFixture.wait("the end is noticed") {
                try await host.daemon.application(app).lastError != nil
            }
            #expect(try await host.send(to: "odd").body == "ok")
        }
    }

    @Test func `an app that ends again and again is left alone for a while, and says why`() async throws {
        try await HostFixture.with { host in
            try await host.deploy("odd", Apps.odd)
            var last: HTTPClient.Answer?
            for _ in 0..<12 {
                last = try await host.send("GET", "/exit", to: "odd")
                if last?.status == 503 { break }
            }
            let answer = try #require(last)
            #expect(answer.status == 503)
            #expect(answer.headers["retry-after"] != nil)
            #expect(answer.body.contains("status 7"), "\(answer.body)")
            #expect(try await host.state(of: "odd") == .failed)
            // A new version is a new chance.
            try await host.deploy("odd", Apps.saying("fixed"))
            #expect(try await host.send(to: "odd").body == "fixed")
        }
    }

    @Test func `an app that needs more memory than its limit is ended and says so`() async throws {
        try await HostFixture.with { host in
            guard host.daemon.groups.features.contains(.memory) else { return }
            let files = [
                "main.ts": """
                const kept: Uint8Array[] = [];
                export default { fetch() { for (;;) kept.push(new Uint8Array(8 << 20).fill(1)); } };
                """,
                "martlet.json": "{ \"limits\": { \"memory\": \"128MiB\" } }",
            ]
            try await host.deploy("greedy", files)
            let answer = try await host.send(to: "greedy")
            #expect(answer.status == 502)
            let status = try await host.daemon.application(ApplicationID(validating: "greedy"))
            #expect(
                answer.body.contains("worker_out_of_memory"),
                "\(answer.body) \(String(describing: status))"
            )
            #expect(answer.body.contains("128 MiB"), "\(answer.body)")
        }
    }

    @Test func `a deployment without room on the disk is refused before it does harm`() async throws {
        try await HostFixture.with {
            $0.limits.freeDiskBytes = 1 << 50
        } _: { host in
            let error = try await failure(host, Apps.saying("x"))
            #expect(error.code == .diskFull)
        }
    }

    @Test func `workers and control groups of a daemon that was killed are removed at start`() async throws {
        let folder = URL(fileURLWithPath: "/tmp/martlet-test-\(UUID().uuidString.prefix(8).lowercased())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let configuration = try HostFixture.configuration(folder)
        let state = StateFolder(path: folder.path + "/state")
        let lock = try state.open()
        let selection = try SandboxSelection(configuration, folder: state, logger: Logger(label: "test"))
        let worker = try await Worker.boot(
            WorkerID(1),
            folders: nil,
            on: selection.site,
            deadline: .seconds(60)
        )
        let identity = try #require(ProcessIdentity(pid: worker.child.pid))
        #expect(identity.isAlive)
        closeDescriptor(lock)
        try await HostFixture.with(configuration, folder) { host in
            #expect(!identity.isAlive)
            try await host.deploy("site", Apps.saying("alive"))
            #expect(try await host.send(to: "site").body == "alive")
        }
        #expect(selection.groups.existing().isEmpty)
        let left = selection.groups.roots.filter { FileManager.default.fileExists(atPath: $0) }
        #expect(left.isEmpty)
    }
}
