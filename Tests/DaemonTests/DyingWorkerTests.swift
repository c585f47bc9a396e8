import Control
@testable import Daemon
import Foundation
import TestSupport
import Testing

/// Requests that meet a worker at its end.
@Suite(.serialized) struct DyingWorkerTests {
    @Test func `requests that meet dying workers are answered, with 200 or with the reason`() async throws {
        try await HostFixture.with { host in
            try await host.deploy("odd", Apps.odd)
            let app = try ApplicationID(validating: "odd")
            let clients = (0..<6).map { number in
                Task {
                    var answers: [HTTPClient.Answer] = []
                    while !Task.isCancelled {
                        // A request that hangs fails here, and with it the test.
                        let method = number % 2 == 0 ? "GET" : "POST"
                        answers.append(try await host.send(method, "/pid", to: "odd", timeout: 50))
                    }
                    return answers
                }
            }
            for _ in 0..<12 {
                try await HostFixture.wait("the app answers") {
                    try await host.send("GET", "/pid", to: "odd").status == 200
                }
                try await host.daemon.killWorkers(of: app)
                // Accidents in a row are backed off; a new environment forgives them.
                try await host.daemon.setEnvironment([.init(name: "A", value: "b", isSecret: false)], of: app)
            }
            clients.forEach { $0.cancel() }
            var seen: [Int: Int] = [:]
            for client in clients {
                for answer in try await client.value {
                    seen[answer.status, default: 0] += 1
                    switch answer.status {
                    case 200: break
                    case 502: #expect(answer.body.contains("worker_ended"), "\(answer.body)")
                    case 503:
                        #expect(answer.headers["retry-after"] != nil)
                        #expect(answer.body.contains("signal 9"), "\(answer.body)")
                    default: Issue.record("\(answer)")
                    }
                }
            }
            #expect((seen[200] ?? 0) > 12, "\(seen)")
        }
    }

    @Test func `a script that ends itself as it loads is reported at once, with the place`() async throws {
        try await HostFixture.with {
            // Longer than a test may take: the report doesn't wait for it.
            $0.timeouts.start = .seconds(600)
        } _: { host in
            do {
                try await host.deploy(
                    "gone",
                    ["main.ts": "\nDeno.exit(3);\nexport default { fetch() {} };\n"]
                )
                Issue.record("the deployment succeeded")
            } catch let error as MartletError {
                #expect(error.code == .checkFailed)
                #expect(error.message.contains("exited with status 3"), "\(error.message)")
                #expect(error.message.contains("called Deno.exit(3)"), "\(error.message)")
                #expect(error.message.contains("main.ts:2"), "\(error.message)")
            }
        }
    }
}
