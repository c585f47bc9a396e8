import Control
import ControlAPI
import ControlClient
import CoreMetrics
import Foundation
import Synchronization
import Testing

struct ControlAPITests {
    private let app: ApplicationID

    init() throws { app = try ApplicationID(validating: "guestbook") }

    @Test func `a request without a token, or with a wrong one, is refused with what to do`() async throws {
        try await APIFixture.with { api in
            let missing = try await api.curl("/v1/apps")
            #expect(missing.status == 401)
            #expect(missing.body.contains("\"code\":\"unauthorized\""))
            #expect(missing.body.contains("Authorization: Bearer TOKEN"))
            for wrong in [
                "Bearer wrong", "Bearer \(api.token.secret)x", "Bearer ", "Basic \(api.token.secret)", "x",
            ] {
                let answer = try await api.curl("/v1/apps", "-H", "Authorization: \(wrong)")
                #expect(answer.status == 401, "\(wrong.prefix(8))")
                #expect(!answer.body.contains(api.token.secret))
            }
            // What does not exist is not told to strangers, either.
            #expect(try await api.curl("/v1/nothing").status == 401)
            #expect(try await api.curl("/v1").status == 401)
            let right = try await api.curl("/v1", "-H", "Authorization: bearer \(api.token.secret)")
            #expect(right.status == 200)
            #expect(right.body.contains("\"version\":\"1.2.3\""))
        }
    }

    @Test func `a refused upload is not read to its end and leaves no file`() async throws {
        try await APIFixture.with { api in
            let file = api.folder.appending(path: "big")
            try Data(repeating: 1, count: 900_000).write(to: file)
            #expect(try await api.curl("/v1/deployments", "--data-binary", "@\(file.path)").status == 401)
            #expect(try FileManager.default.contentsOfDirectory(atPath: api.folder.path + "/uploads").isEmpty)
            #expect(api.service.calls.isEmpty)
        }
    }

    @Test func `listings come back as they were`() async throws {
        let app = app
        try await APIFixture.with { api in
            #expect(try await api.client.applications().isEmpty)
            api.service.add(app)
            #expect(try await api.client.applications() == [try await api.service.application(app)])
            #expect(try await api.client.application(app).id == app)
            #expect(
                try await api.client.versions(of: app).map(\.id.short) == ["aaaaaaaaaaaa", "bbbbbbbbbbbb"]
            )
            try await api.client.delete(app)
            let error = await #expect(throws: MartletError.self) { try await api.client.application(app) }
            #expect(error?.code == .notFound)
            #expect(error?.message == "there is no app named guestbook")
        }
    }

    @Test func `an upload is streamed to the service, with its progress back`() async throws {
        let app = app
        try await APIFixture.with { api in
            let file = api.folder.appending(path: "a.tar.gz")
            let content = Data((0..<700_001).map { UInt8(truncatingIfNeeded: $0 &* 31) })
            try content.write(to: file)
            let events = Mutex<[DeploymentEvent]>([])
            let sent = Mutex(0)
            let deployment = try await api.client.deploy(
                file,
                bytes: content.count,
                as: app,
                onUpload: { count in sent.withLock { $0 = count } },
                onEvent: { event in events.withLock { $0.append(event) } }
            )
            #expect(deployment.app == app)
            #expect(sent.withLock { $0 } == content.count)
            #expect(events.withLock { $0.map(\.step) } == [.unpack, .unpack])
            #expect(events.withLock { $0.last?.message } == "1 file")
            #expect(api.service.calls == ["deploy guestbook for local"])
            #expect(api.service.state.withLock { $0.uploads } == [content])
            let isClean = try await APIFixture.eventually {
                try FileManager.default.contentsOfDirectory(atPath: api.folder.path + "/uploads").isEmpty
            }
            #expect(isClean)
        }
    }

    @Test func `an upload over the limit is refused, with and without a length`() async throws {
        try await APIFixture.with(maximumUploadBytes: 100_000) { api in
            let file = api.folder.appending(path: "big")
            try Data(repeating: 1, count: 5_000_000).write(to: file)
            let token = "Authorization: Bearer \(api.token.secret)"
            for length in [[], ["-H", "Transfer-Encoding: chunked"]] as [[String]] {
                let answer =
                    length.isEmpty
                    ? try await api.curl("/v1/deployments", "-H", token, "--data-binary", "@\(file.path)")
                    : try await api.curl(
                        "/v1/deployments",
                        "-H",
                        token,
                        length[0],
                        length[1],
                        "--data-binary",
                        "@\(file.path)"
                    )
                #expect(answer.status == 413)
                #expect(answer.body.contains("larger than 97.7 KiB; leave out what the app does not need"))
            }
            let app = try ApplicationID(validating: "guestbook")
            let error = await #expect(throws: MartletError.self) {
                try await api.client.deploy(
                    file,
                    bytes: 5_000_000,
                    as: app,
                    onUpload: { _ in },
                    onEvent: { _ in }
                )
            }
            #expect(error?.code == .tooLarge)
            #expect(try FileManager.default.contentsOfDirectory(atPath: api.folder.path + "/uploads").isEmpty)
            #expect(api.service.calls.isEmpty)
        }
    }

    @Test func `an upload that breaks off leaves no file and reaches nobody`() async throws {
        try await APIFixture.with { api in
            let token = "Authorization: Bearer \(api.token.secret)"
            // The body is shorter than its announced length, and curl hangs up after a second.
            _ = try? await api.curl(
                "/v1/deployments",
                "-H",
                token,
                "-H",
                "Content-Length: 5000",
                "-d",
                "abc",
                "--max-time",
                "1"
            )
            let isClean = try await APIFixture.eventually {
                try FileManager.default.contentsOfDirectory(atPath: api.folder.path + "/uploads").isEmpty
            }
            #expect(isClean)
            #expect(api.service.calls.isEmpty)
        }
    }

    @Test func `an empty upload and a bad name are refused`() async throws {
        try await APIFixture.with { api in
            let token = "Authorization: Bearer \(api.token.secret)"
            let empty = try await api.curl("/v1/deployments", "-H", token, "-X", "POST")
            #expect(empty.status == 400)
            #expect(empty.body.contains("the upload is empty"))
            let name = try await api.curl("/v1/deployments?app=My_App", "-H", token, "-d", "x")
            #expect(name.status == 400)
            #expect(name.body.contains("1 to 63 of a-z, 0-9 and -"))
        }
    }

    @Test func `an error of a deployment reaches the client with its code`() async throws {
        let app = app
        try await APIFixture.with { api in
            api.service.state.withLock {
                $0.deployError = MartletError(.checkFailed, "main.ts:3: Unexpected token")
            }
            let file = api.folder.appending(path: "a")
            try Data("x".utf8).write(to: file)
            let error = await #expect(throws: MartletError.self) {
                try await api.client.deploy(file, bytes: 1, as: app, onUpload: { _ in }, onEvent: { _ in })
            }
            #expect(error?.code == .checkFailed)
            #expect(error?.message == "main.ts:3: Unexpected token")
            let plain = try await api.curl(
                "/v1/deployments?app=guestbook",
                "-H",
                "Authorization: Bearer \(api.token.secret)",
                "-H",
                "Accept: application/json",
                "-d",
                "x"
            )
            #expect(plain.status == 422)
            #expect(plain.body.contains("\"code\":\"check_failed\""))
        }
    }

    @Test func `a client that goes away does not stop its deployment, and places are limited`() async throws {
        let gate = Gate()
        try await APIFixture.with(gate: gate, maximumDeployments: 1) { api in
            let token = "Authorization: Bearer \(api.token.secret)"
            _ = try? await api.curl("/v1/deployments?app=one", "-H", token, "-d", "x", "--max-time", "4")
            let isRunning = try await APIFixture.eventually { api.service.calls == ["deploy one for local"] }
            #expect(isRunning)
            let second = try await api.curl("/v1/deployments?app=two", "-H", token, "-d", "x")
            #expect(second.status == 503)
            #expect(second.body.contains("1 deployments are running already"))
            gate.open()
            let isFree = try await APIFixture.eventually {
                try await api.curl("/v1/deployments?app=two", "-H", token, "-d", "x").status == 200
            }
            #expect(isFree)
        }
    }

    @Test func `a rollback takes the start of a version`() async throws {
        let app = app
        try await APIFixture.with { api in
            api.service.add(app)
            let prefix = try VersionPrefix(validating: "bbbbb")
            #expect(
                try await api.client.rollback(app, to: prefix, onEvent: { _ in }).version.short
                    == "bbbbbbbbbbbb"
            )
            #expect(
                try await api.client.rollback(app, to: nil, onEvent: { _ in }).version.short == "bbbbbbbbbbbb"
            )
            #expect(api.service.calls == ["rollback guestbook to bbbbbbbbbbbb", "rollback guestbook to -"])
            let unknown = try VersionPrefix(validating: "cccc")
            let error = await #expect(throws: MartletError.self) {
                try await api.client.rollback(app, to: unknown, onEvent: { _ in })
            }
            #expect(error?.message.contains("no version starts with cccc") == true)
        }
    }

    @Test func `secrets go in and never come out`() async throws {
        let app = app
        try await APIFixture.with { api in
            try await api.client.setEnvironment(
                [
                    EnvironmentVariable(name: "PLAIN", value: "1", isSecret: false),
                    EnvironmentVariable(name: "KEY", value: "hush", isSecret: true),
                ],
                of: app
            )
            #expect(
                try await api.client.environment(of: app) == [
                    EnvironmentVariable(name: "PLAIN", value: "1", isSecret: false),
                    EnvironmentVariable(name: "KEY", value: nil, isSecret: true),
                ]
            )
            try await api.client.unsetEnvironment("KEY", of: app)
            #expect(api.service.calls == ["set [\"PLAIN\", \"KEY\"]", "unset [\"KEY\"]"])
            let bad = await #expect(throws: MartletError.self) {
                try await api.client.setEnvironment(
                    [EnvironmentVariable(name: "MARTLET_DATA", value: "hush", isSecret: true)],
                    of: app
                )
            }
            #expect(bad?.message.contains("set by the platform itself") == true)
            #expect(bad?.message.contains("hush") == false)
        }
    }

    @Test func `a log is read, and one that is followed ends with its reader`() async throws {
        let app = app
        try await APIFixture.with { api in
            api.service.add(app)
            let lines = Mutex<[String]>([])
            try await api.client.logs(of: app, since: Date(timeIntervalSince1970: 1.5), follow: false) {
                record in
                lines.withLock { $0.append(record.message) }
            }
            #expect(lines.withLock { $0 } == (0..<3).map { "line \($0)\nwith a break" })
            #expect(api.service.calls == ["logs since 1.5 follow false"])

            struct Enough: Error {}
            await #expect(throws: (any Error).self) {
                try await api.client.logs(of: app, since: nil, follow: true) { record in
                    if record.requestID == "r2" { throw Enough() }
                }
            }
            let isGone = try await APIFixture.eventually { api.service.calls.contains("log reader gone") }
            #expect(isGone)
        }
    }

    @Test func `a followed log does not hold up a shutdown`() async throws {
        let app = app
        let reader = try await APIFixture.with { api in
            api.service.add(app)
            let (started, continuation) = AsyncStream<Void>.makeStream()
            let client = api.client
            let reader = Task {
                try await client.logs(of: app, since: nil, follow: true) { _ in continuation.yield(()) }
            }
            for await _ in started { break }
            return reader
        }
        _ = await reader.result
    }

    @Test func `a name that no app has gets a helpful 404`() async throws {
        try await APIFixture.with { api in
            let json = try await api.curl("/x", "-H", "Host: nosuch.localhost:8080")
            #expect(json.status == 404)
            #expect(json.body.contains("no app named \\\"nosuch\\\" on this host"))
            #expect(json.body.contains("martlet deploy DIR --name nosuch"))
            let html = try await api.curl("/", "-H", "Host: NoSuch.localhost", "-H", "Accept: text/html,*/*")
            #expect(html.status == 404)
            #expect(html.body.contains("<h1>No app named “nosuch”</h1>"))
            // Names that no app can have go to the API.
            #expect(try await api.curl("/healthz", "-H", "Host: api.localhost").status == 200)
            #expect(try await api.curl("/healthz", "-H", "Host: example.com").status == 200)
        }
    }

    @Test func `health, metrics and the bare address are open; metrics can be closed`() async throws {
        let registry = PrometheusRegistry()
        registry.makeCounter(label: "martlet.requests", dimensions: [("app", "a\"b")]).increment(by: 3)
        registry.makeTimer(label: "wake", dimensions: []).recordNanoseconds(4_000_000)
        registry.makeMeter(label: "workers", dimensions: []).set(2.5)
        try await APIFixture.with(metrics: registry) { api in
            #expect(try await api.curl("/healthz").body.contains("\"status\":\"ok\""))
            #expect(try await api.curl("/").body.contains("Martlet 1.2.3 is running"))
            let text = try await api.curl("/metrics").body
            #expect(text.contains("# TYPE martlet_requests counter\nmartlet_requests{app=\"a\\\"b\"} 3\n"))
            #expect(
                text.contains("wake_seconds_bucket{le=\"0.0025\"} 0\nwake_seconds_bucket{le=\"0.005\"} 1\n")
            )
            #expect(
                text.contains(
                    "wake_seconds_bucket{le=\"+Inf\"} 1\nwake_seconds_sum 0.004\nwake_seconds_count 1\n"
                )
            )
            #expect(text.contains("# TYPE workers gauge\nworkers 2.5\n"))
        }
        try await APIFixture.with(protectsMetrics: true) { api in
            let stranger = try await api.curl("/metrics")
            #expect(stranger.status == 401)
            let scraper = try await api.curl("/metrics", "-H", "Authorization: Bearer \(api.token.secret)")
            #expect(scraper.status == 200)
        }
    }

    @Test func `a host by itself says how to have more`() async throws {
        try await APIFixture.with { api in
            let token = "Authorization: Bearer \(api.token.secret)"
            for (path, method) in [("hosts", "GET"), ("slices", "GET"), ("apps/guestbook/move", "POST")] {
                let answer = try await api.curl("/v1/\(path)", "-X", method, "-H", token)
                #expect(answer.status == 404)
                #expect(answer.body.contains("martlet up --hosts 3"), "\(answer.body)")
            }
        }
    }

    @Test func `an unknown path and a broken body are named`() async throws {
        try await APIFixture.with { api in
            let token = "Authorization: Bearer \(api.token.secret)"
            let unknown = try await api.curl("/v1/nothing", "-H", token)
            #expect(unknown.status == 404)
            #expect(unknown.body.contains("there is no GET /v1/nothing in this API"))
            let broken = try await api.curl(
                "/v1/apps/a/env",
                "-X",
                "PATCH",
                "-H",
                token,
                "-d",
                "[{\"name\": \"A\"}]"
            )
            #expect(broken.status == 400)
            #expect(broken.body.contains("lacks \\\"isSecret\\\""))
            let version = try await api.curl(
                "/v1/apps/a/rollback",
                "-H",
                token,
                "-d",
                "{\"version\": \"xyz\"}"
            )
            #expect(version.status == 400)
            #expect(version.body.contains("\\\"xyz\\\" is not a version"))
        }
    }

    @Test func `an API that is not there is named with what to do`() async throws {
        let endpoint = try Endpoint(validating: "http://127.0.0.1:1")
        let error = await #expect(throws: MartletError.self) {
            try await APIClient(endpoint: endpoint, token: nil).applications()
        }
        #expect(error?.code == .unavailable)
        #expect(
            error?.message
                == "cannot reach Martlet at http://127.0.0.1:1: Connection refused. Start it with `martlet up`, or name "
                + "another with --api or MARTLET_API"
        )
    }

    @Test(arguments: [
        "", "localhost:8080", "ftp://x", "http://", "http://a/path", "http://u:p@a", "http://a?x",
    ])
    func `other texts are no address`(_ text: String) {
        let error = #expect(throws: MartletError.self) { try Endpoint(validating: text) }
        #expect(error?.message.contains("write it as http://127.0.0.1:8080") == true)
    }

    @Test func `a token is compared whole and never printed`() throws {
        var random = SystemRandomNumberGenerator()
        let token = APIToken.random(using: &random)
        #expect(token.secret.count == 60)
        #expect(token.matches(token.secret))
        #expect(!token.matches(String(token.secret.dropLast())))
        #expect(!token.matches(token.secret + "a"))
        #expect(!token.matches(""))
        #expect(!"\(token) \(String(reflecting: token))".contains(token.secret))
    }
}
