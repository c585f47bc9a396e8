import Control
@testable import Daemon
import Foundation
import TestSupport
import Testing

/// A host with real workers, used from outside.
@Suite(.serialized) struct HostTests {
    @Test func `a deployed app answers, is frozen, stopped, and answers again with its data`() async throws {
        try await HostFixture.with {
            $0.sleep.after = .milliseconds(200)
            $0.sleep.frozenFor = .milliseconds(1500)
        } _: { host in
            let deployment = try await host.deploy("counter", Apps.counter)
            #expect(deployment.url == "http://counter.localhost:\(host.port)/")
            #expect(try await host.send(to: "counter").body == "1")
            let canFreeze = host.daemon.groups.features.contains(.freezer)
            if canFreeze { try await host.wait("counter", for: .frozen) }
            #expect(try await host.send(to: "counter").body == "2")
            try await host.wait("counter", for: .asleep)
            #expect(try await host.send(to: "counter").body == "3")
        }
    }

    @Test func `an app sleeps after the time that its settings say, whatever the host's is`() async throws {
        try await HostFixture.with {
            $0.sleep.after = .milliseconds(100)
            $0.sleep.frozenFor = .zero
        } _: { host in
            var (soon, never) = (Apps.counter, Apps.counter)
            soon["martlet.json"] = #"{ "sleepAfter": "200ms" }"#
            never["martlet.json"] = #"{ "sleepAfter": "never" }"#
            try await host.deploy("soon", soon)
            try await host.deploy("never", never)
            try await host.wait("soon", for: .asleep)
            try await Task.sleep(for: .milliseconds(500))
            #expect(try await host.state(of: "never") == .running)
            #expect(try await host.send(to: "soon").body == "1")
        }
    }

    @Test func `many requests for an asleep app are held and start one worker`() async throws {
        try await HostFixture.with {
            $0.sleep.after = .milliseconds(100)
            $0.sleep.frozenFor = .zero
        } _: { host in
            try await host.deploy("odd", Apps.odd)
            try await host.wait("odd", for: .asleep)
            let answers = try await withThrowingTaskGroup(of: HTTPClient.Answer.self) { group in
                for _ in 0..<40 { group.addTask { try await host.send("GET", "/pid", to: "odd") } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(answers.map(\.status) == Array(repeating: 200, count: 40))
            #expect(Set(answers.map(\.body)).count == 1)
        }
    }

    @Test func `new versions under load fail no request, and rolling back works`() async throws {
        try await HostFixture.with { host in
            try await host.deploy("site", Apps.saying("v0"))
            let load = Task {
                var seen: [Int: Int] = [:]
                while !Task.isCancelled {
                    let answer = try await host.send(to: "site")
                    seen[answer.status, default: 0] += 1
                }
                return seen
            }
            for number in 1...8 {
                let deployment = try await host.deploy("site", Apps.saying("v\(number)"))
                #expect(try await host.send(to: "site").body == "v\(number)")
                #expect(deployment.previousVersion != deployment.version)
            }
            load.cancel()
            let seen = try await load.value
            #expect(Set(seen.keys) == [200], "\(seen)")
            let app = try ApplicationID(validating: "site")
            _ = try await host.daemon.rollback(app, to: nil) { _ in }
            #expect(try await host.send(to: "site").body == "v7")
            #expect(try await host.daemon.versions(of: app).filter(\.isCurrent).count == 1)
        }
    }

    @Test func `a running request finishes on the old version`() async throws {
        try await HostFixture.with { host in
            try await host.deploy("odd", Apps.odd)
            let slow = Task { try await host.send("GET", "/slow", to: "odd") }
            try await HostFixture.wait("the request runs") {
                try await host.daemon.application(ApplicationID(validating: "odd")).activeRequests == 1
            }
            try await host.deploy("odd", Apps.saying("new"))
            #expect(try await slow.value.body == "ok")
            #expect(try await host.send(to: "odd").body == "new")
        }
    }

    @Test func `what keeps an app awake keeps it awake`() async throws {
        try await HostFixture.with {
            $0.sleep.after = .milliseconds(150)
            $0.sleep.frozenFor = .zero
        } _: { host in
            try await host.deploy("odd", Apps.odd)
            let socket = try TestWebSocket(host: "odd.localhost", port: host.port, path: "/live")
            try await Task.sleep(for: .milliseconds(1000))
            #expect(try await host.state(of: "odd") == .running)
            #expect(try socket.echo("still there") == "still there")
            socket.close()
            try await host.wait("odd", for: .asleep)
            #expect(try await host.send("GET", "/slow", to: "odd").body == "ok")
            #expect(try await host.send("GET", "/later", to: "odd").status == 200)
            try await Task.sleep(for: .milliseconds(500))
            #expect(try await host.state(of: "odd") == .running)
            try await host.wait("odd", for: .asleep)
        }
    }

    @Test func `variables and secrets apply at the next start and secrets are not shown`() async throws {
        try await HostFixture.with { host in
            let app = try ApplicationID(validating: "odd")
            var files = Apps.odd
            files["martlet.json"] = "{ \"env\": { \"GREETING\": \"from settings\" } }"
            try await host.deploy("odd", files)
            #expect(try await host.send("GET", "/env", to: "odd").body == "from settings")
            let secret = EnvironmentVariable(name: "GREETING", value: "s3cret-value", isSecret: true)
            try await host.daemon.setEnvironment([secret], of: app)
            #expect(try await host.daemon.environment(of: app).first?.value == nil)
            _ = try? await host.send("GET", "/exit", to: "odd")
            try await HostFixture.wait("the next worker has the secret") {
                try await host.send("GET", "/env", to: "odd").body == "s3cret-value"
            }
            let state = FileManager.default.contents(atPath: host.folder.path + "/state/state.db") ?? Data()
            #expect(!state.contains(Data("s3cret-value".utf8)))
            try await host.daemon.unsetEnvironment(["GREETING"], of: app)
            #expect(try await host.daemon.environment(of: app).isEmpty)
        }
    }

    @Test func `what an app writes is in its log with its level`() async throws {
        try await HostFixture.with { host in
            try await host.deploy("odd", Apps.odd)
            _ = try await host.send("GET", "/log?x=1", to: "odd")
            let app = try ApplicationID(validating: "odd")
            try await HostFixture.wait("the line is logged") {
                for try await record in try await host.daemon.logs(of: app, since: nil, follow: false)
                where record.message == "something is odd ?x=1" {
                    return record.level == .error && record.requestID != nil && record.version != nil
                }
                return false
            }
        }
    }

    @Test func `a deleted app is gone with its data, and its name is free`() async throws {
        try await HostFixture.with { host in
            let app = try ApplicationID(validating: "counter")
            try await host.deploy("counter", Apps.counter)
            #expect(try await host.send(to: "counter").body == "1")
            try await host.daemon.delete(app)
            #expect(try await host.send(to: "counter").status == 404)
            #expect(try await host.daemon.applications().isEmpty)
            let other = try UserID(validating: "other")
            try await host.deploy("counter", Apps.counter, owner: other)
            #expect(try await host.send(to: "counter").body == "1")
            await #expect(throws: MartletError.self) { try await host.deploy("counter", Apps.counter) }
        }
    }

    @Test func `a host that starts again has its apps and their data`() async throws {
        let folder = URL(fileURLWithPath: "/tmp/martlet-test-\(UUID().uuidString.prefix(8).lowercased())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let configuration = try HostFixture.configuration(folder)
        try await HostFixture.with(configuration, folder) { host in
            try await host.deploy("counter", Apps.counter)
            #expect(try await host.send(to: "counter").body == "1")
        }
        try await HostFixture.with(configuration, folder) { host in
            let state = try await host.state(of: "counter")
            let answer = try await host.send(to: "counter")
            #expect(state == .asleep)
            #expect(answer.body == "2")
            #expect(throws: MartletError.self) { try HostDaemon(configuration, logger: host.daemon.logger) }
        }
    }

    @Test func `without a sandbox an app runs too`() async throws {
        try await HostFixture.with {
            $0.sandbox = .none
        } _: { host in
            try await host.deploy("counter", Apps.counter)
            #expect(try await host.send(to: "counter").body == "1")
        }
    }
}
