import Foundation
import NIOCore
import NIOHPACK
import NIOPosix
import SwiftProtobuf
import Temporal
import TemporalAPI
import TemporalTesting
import Testing

@Suite struct `Connection` {
    private func connection(
        _ port: Int,
        tls: TemporalConnection.TLS? = nil,
        apiKey: String? = nil,
        _ change: (inout TemporalConnection.Configuration) -> Void = { _ in }
    ) -> TemporalConnection {
        var configuration = TemporalConnection.Configuration(port: port, tls: tls, apiKey: apiKey)
        change(&configuration)
        return TemporalConnection(configuration)
    }

    @Test func `a real server answers thousands of calls on one connection`() async throws {
        try await TestServer.with { server in
            try await Relay.with(to: server.port) { relay, port in
                let connection = connection(port)
                #expect(try await connection.connect().serverVersion.hasPrefix("1."))
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<50 {
                        group.addTask { for _ in 0..<60 { try await connection.connect() } }
                    }
                    try await group.waitForAll()
                }
                #expect(await relay.connections == 1)
                await connection.close()
                await #expect(throws: RPCError.self) { try await connection.connect(timeout: .seconds(3)) }
            }
        }
    }

    @Test func `a server that is not there is named in the error`() async throws {
        let connection = connection(1)
        let error = try await #require(throws: RPCError.self) {
            try await connection.connect(timeout: .seconds(3))
        }
        #expect(error.code == .unavailable)
        #expect(error.message.contains("could not connect to Temporal at 127.0.0.1:1"))
        #expect(error.message.contains("attempts in 3.0 seconds"))
    }

    @Test func `a name that is not known is named in the error`() async throws {
        let connection = TemporalConnection(.init(host: "no-such-host.invalid"))
        let error = try await #require(throws: RPCError.self) {
            try await connection.connect(timeout: .seconds(3))
        }
        #expect(error.message.contains("no-such-host.invalid:7233"))
    }

    @Test func `a port that does not speak HTTP-2 is told apart`() async throws {
        try await TestServer.with { server in
            let connection = connection(server.httpPort) { $0.connectTimeout = .milliseconds(500) }
            let error = try await #require(throws: RPCError.self) {
                try await connection.connect(timeout: .seconds(3))
            }
            #expect(error.message.contains("127.0.0.1:\(server.httpPort)"))
            await connection.close()
        }
    }

    @Test func `retryable statuses are tried again, others are not`() async throws {
        try await StubFrontend.with(statuses: [.unavailable, .internal, .aborted]) { stub, port in
            let connection = connection(port) { $0.backoff.initial = .milliseconds(1) }
            try await connection.connect()
            #expect(stub.requests.count == 4)
            await connection.close()
        }
        try await StubFrontend.with(statuses: [.permissionDenied]) { stub, port in
            let connection = connection(port)
            let error = try await #require(throws: RPCError.self) { try await connection.connect() }
            #expect(error.code == .permissionDenied)
            #expect(error.message == "told to")
            #expect(stub.requests.count == 1)
            await connection.close()
        }
    }

    @Test func `waits grow up to their maximum, and stay apart`() {
        let backoff = TemporalConnection.Backoff()
        #expect(backoff.delay(failures: 1, overloaded: false, random: 0.5) == .milliseconds(100))
        #expect(backoff.delay(failures: 1, overloaded: true, random: 0.5) == .seconds(1))
        #expect(backoff.delay(failures: 1, overloaded: false, random: 0) == .milliseconds(80))
        #expect(backoff.delay(failures: 50, overloaded: false, random: 0.5) == .seconds(5))
    }

    @Test func `a cancelled task ends its call`() async throws {
        try await TestServer.with { server in
            let connection = server.connection()
            try await connection.connect()
            let poll = Task { try await self.poll(connection) }
            try await Task.sleep(for: .milliseconds(200))
            poll.cancel()
            await #expect(throws: CancellationError.self) { try await poll.value }
            try await connection.connect()
            await connection.close()
        }
    }

    @Test func `a limit keeps calls from piling up`() async throws {
        try await TestServer.with { server in
            let connection = server.connection { $0.maximumCallsInFlight = 2 }
            try await connection.connect()
            let polls = (0..<2).map { _ in Task { try await poll(connection) } }
            try await Task.sleep(for: .milliseconds(300))
            let error = try await #require(throws: RPCError.self) {
                let _: APIGetSystemInfoResponse = try await connection.call(
                    "GetSystemInfo",
                    APIGetSystemInfoRequest(),
                    retry: .none
                )
            }
            #expect(error.code == .resourceExhausted)
            for poll in polls { poll.cancel() }
            for poll in polls { _ = await poll.result }
            try await connection.connect()
            await connection.close()
        }
    }

    @Test func `calls that wait do not keep others from being made`() async throws {
        try await StubFrontend.with(maximumStreams: 4) { stub, port in
            let connection = connection(port) { $0.keepAliveInterval = .milliseconds(200) }
            // The server's limit is known from here on.
            try await connection.connect()
            let polls = (0..<10).map { _ in Task { try await poll(connection) } }
            try await eventually { stub.requests.count == 11 }
            #expect(stub.connections == 3)
            try await connection.connect()
            for poll in polls { poll.cancel() }
            for poll in polls { await #expect(throws: CancellationError.self) { try await poll.value } }
            // Connections that nobody needs any more are closed, all but one.
            try await eventually { stub.connections == 1 }
            try await connection.connect()
            #expect(stub.connections == 1)
            await connection.close()
            try await eventually { stub.connections == 0 }
        }
    }

    @Test func `a call that finds no free stream says so`() async throws {
        try await StubFrontend.with(maximumStreams: 4) { stub, port in
            let connection = connection(port) { $0.maximumConnections = 1 }
            try await connection.connect()
            let polls = (0..<4).map { _ in Task { try await poll(connection) } }
            try await eventually { stub.requests.count == 5 }
            let error = try await #require(throws: RPCError.self) {
                try await connection.connect(timeout: .milliseconds(300))
            }
            #expect(error.code == .deadlineExceeded)
            #expect(error.message.contains("all streams are in use (connections: 1, calls: 5)"), "\(error)")
            // It is made as soon as there is one.
            let late = Task { try await connection.connect(timeout: .seconds(30)) }
            polls[0].cancel()
            _ = try await late.value
            for poll in polls { poll.cancel() }
            for poll in polls { _ = await poll.result }
            await connection.close()
        }
    }

    private func poll(_ connection: TemporalConnection) async throws {
        let request = APIPollActivityTaskQueueRequest.with {
            $0.namespace = "default"
            $0.taskQueue.name = "nobody"
        }
        let _: APIPollActivityTaskQueueResponse = try await connection.call(
            "PollActivityTaskQueue",
            request,
            timeout: .seconds(60),
            retry: .longPoll
        )
    }

    @Test func `payloads of a megabyte pass both ways`() async throws {
        try await TestServer.with { server in
            let connection = server.connection()
            let client = TemporalClient(connection: connection)
            let blob = Data((0..<1_500_000).map { UInt8(truncatingIfNeeded: $0) })
            for index in 0..<10 {
                let handle = try await client.start(
                    "Blob",
                    arguments: [blob],
                    options: .init(id: "blob\(index)", taskQueue: "nobody")
                )
                let history = try await handle.history()
                let input = history.events[0].workflowExecutionStartedEventAttributes.input.payloads
                #expect(try client.converter.payloads.decode(#require(input.first), as: Data.self) == blob)
            }
            await connection.close()
        }
    }

    // MARK: TLS

    @Test func `TLS with a private authority, with and without a client's certificate`() async throws {
        try await Certificates.with { certificates in
            try await TestServer.with { server in
                let roots = try certificates.pem("ca.pem")
                try await Relay.with(to: server.port, tls: certificates.server()) { _, port in
                    for name in [nil, "temporal.test"] {
                        let connection = connection(port, tls: .init(trustRoots: roots, serverName: name))
                        try await connection.connect()
                        await connection.close()
                    }
                    let stranger = connection(port, tls: .init(trustRoots: try certificates.pem("other.pem")))
                    let distrust = try await #require(throws: RPCError.self) {
                        try await stranger.connect(timeout: .seconds(3))
                    }
                    #expect(distrust.message.lowercased().contains("certificate"))
                    await stranger.close()
                }
                // A certificate without the server's address counts for its name only.
                try await Relay.with(to: server.port, tls: certificates.server("named")) { _, port in
                    let named = connection(port, tls: .init(trustRoots: roots, serverName: "temporal.test"))
                    try await named.connect()
                    await named.close()
                    for name in [nil, "elsewhere.test"] {
                        let elsewhere = connection(port, tls: .init(trustRoots: roots, serverName: name))
                        await #expect(throws: RPCError.self) {
                            try await elsewhere.connect(timeout: .seconds(3))
                        }
                        await elsewhere.close()
                    }
                }
                try await Relay.with(to: server.port, tls: certificates.server(requiresClient: true)) {
                    _,
                    port in
                    let known = connection(
                        port,
                        tls: .init(
                            trustRoots: roots,
                            certificate: try certificates.pem("client.pem"),
                            privateKey: try certificates.pem("client.key")
                        )
                    )
                    try await known.connect()
                    await known.close()
                    let unknown = connection(port, tls: .init(trustRoots: roots))
                    await #expect(throws: RPCError.self) { try await unknown.connect(timeout: .seconds(3)) }
                    await unknown.close()
                }
                let broken = connection(
                    server.port,
                    tls: .init(certificate: Data("none".utf8), privateKey: Data("none".utf8))
                )
                let error = try await #require(throws: RPCError.self) { try await broken.connect() }
                #expect(error.code == .invalidArgument)
                #expect(error.message.contains("TLS configuration"))
            }
        }
    }

    @Test func `an API key travels with every call, over TLS, and can be renewed`() async throws {
        try await Certificates.with { certificates in
            try await StubFrontend.with(tls: certificates.server()) { stub, port in
                let connection = connection(
                    port,
                    tls: .init(trustRoots: try certificates.pem("ca.pem")),
                    apiKey: "first-secret"
                )
                try await connection.connect()
                connection.setAPIKey("second-secret")
                try await connection.connect()
                let keys = stub.requests.compactMap { $0.first(name: "authorization") }
                #expect(keys == ["Bearer first-secret", "Bearer second-secret"])
                #expect(stub.requests.first?.first(name: "temporal-namespace") == "default")
                #expect(stub.requests.first?.first(name: "client-name") == "temporal-swift")
                var text = ""
                dump(connection.configuration, to: &text)
                #expect(!"\(connection.configuration) \(text)".contains("secret"))
                await connection.close()
            }
        }
        let configuration = TemporalConnection.Configuration(apiKey: "k")
        #expect("\(configuration)".contains("TLS"))
    }

    // MARK: Faults

    @Test func `calls survive a server that is killed and started again under load`() async throws {
        try await TestServer.with(.init(isDurable: true)) { server in
            let connection = server.connection { $0.attemptTimeout = .seconds(5) }
            var client = TemporalClient(connection: connection)
            client.callTimeout = .seconds(120)
            let shared = client
            let load = Task {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for lane in 0..<4 {
                        group.addTask {
                            for index in 0..<12 {
                                try await shared.start(
                                    "Any",
                                    options: .init(id: "w\(lane)-\(index)", taskQueue: "nobody")
                                )
                                try await Task.sleep(for: .milliseconds(100))
                            }
                        }
                    }
                    try await group.waitForAll()
                }
            }
            try await Task.sleep(for: .milliseconds(400))
            await server.kill()
            try await Task.sleep(for: .milliseconds(500))
            try await server.launch()
            try await load.value
            for lane in 0..<4 {
                for index in 0..<12 {
                    #expect(
                        try await client.handle(id: "w\(lane)-\(index)").describe().info.status == .running
                    )
                }
            }
            await connection.close()
        }
    }

    @Test func `calls survive ten seconds without a connection`() async throws {
        try await TestServer.with { server in
            try await Relay.with(to: server.port) { relay, port in
                let connection = connection(port) {
                    $0.attemptTimeout = .seconds(3)
                    $0.keepAliveInterval = .seconds(4)
                    $0.keepAliveTimeout = .seconds(2)
                    $0.connectTimeout = .seconds(2)
                }
                var client = TemporalClient(connection: connection)
                client.callTimeout = .seconds(120)
                try await connection.connect()
                let handle = try await client.start("Any", options: .init(id: "cut", taskQueue: "nobody"))
                let waiting = Task { try await handle.result() }
                await relay.cut()
                let shared = client
                let during = (0..<10).map { index in
                    Task {
                        _ = try await shared.start(
                            "Any",
                            options: .init(id: "cut\(index)", taskQueue: "nobody")
                        )
                    }
                }
                try await Task.sleep(for: .seconds(10))
                await relay.mend()
                for call in during { try await call.value }
                #expect(await relay.connections > 1)
                try await handle.terminate(reason: "seen")
                await #expect(throws: WorkflowFailedError.self) { try await waiting.value }
                await connection.close()
            }
        }
    }

    @Test func `a server that stops answering is noticed by its silence`() async throws {
        try await TestServer.with { server in
            let connection = server.connection {
                $0.keepAliveInterval = .seconds(1)
                $0.keepAliveTimeout = .seconds(1)
            }
            try await connection.connect()
            server.pause()
            // A busy system stops a program a moment later, and it may still answer until then.
            try await Task.sleep(for: .seconds(1))
            let error = try await #require(throws: RPCError.self) {
                let _: APIGetSystemInfoResponse = try await connection.call(
                    "GetSystemInfo",
                    APIGetSystemInfoRequest(),
                    timeout: .seconds(60),
                    retry: .none
                )
            }
            // The silence may be noticed before the call, which then finds nobody to connect to.
            let isNoticed = ["no sign of life", "no HTTP/2 answer"].contains { error.message.contains($0) }
            #expect(isNoticed, "\(error.message)")
            server.resume()
            try await connection.connect(timeout: .seconds(30))
            await connection.close()
        }
    }

    @Test func `the time-skipping server speaks the same protocol`() async throws {
        try await TestServer.with(.init(kind: .timeSkipping)) { server in
            let client = TemporalClient(connection: server.connection())
            let handle = try await client.start(
                "Any",
                options: .init(id: "t", taskQueue: "nobody", executionTimeout: .seconds(36_000))
            )
            #expect(try await handle.describe().info.status == .running)
            try await handle.terminate(reason: "done")
            let error = try await #require(throws: WorkflowFailedError.self) { try await handle.result() }
            #expect(error.status == .terminated)
            await client.connection.close()
        }
    }
}
