import Control
@testable import Daemon
import Foundation
import TestSupport
import Testing
@testable import martlet_host_benchmark

/// Apps so large that compiling them is most of a start.
@Suite(.serialized) struct LargeAppTests {
    @Test func `a large app is started with its own compiled modules, which no other app sees`() async throws
    {
        try await HostFixture.with {
            // Whatever the machine's speed, a large app is one here.
            $0.limits.slowImport = .zero
            $0.sleep.after = .milliseconds(200)
            $0.sleep.frozenFor = .zero
        } _: { host in
            try await host.deploy("large", LargeApp.files(bytes: 683 << 10))
            let app = try ApplicationID(validating: "large")
            let version = try #require(try await host.daemon.versions(of: app).first)
            let cache = host.folder.path + "/state/apps/large/cache/" + version.id.rawValue
            let compiled = FileManager.default.enumerator(atPath: cache)?.compactMap { $0 as? String } ?? []
            #expect(compiled.contains { $0.hasSuffix("part10.ts.js") }, "\(compiled)")
            let first = try await host.send(to: "large")
            #expect(first.body == "683 KB")
            try await host.wait("large", for: .asleep)
            let time = { (path: String) -> Date? in
                try FileManager.default.attributesOfItem(atPath: cache + "/" + path)[.modificationDate]
                    as? Date
            }
            let module = try #require(compiled.first { $0.hasSuffix("part10.ts.js") })
            let before = try time(module)
            #expect(try await host.send(to: "large").body == "683 KB")
            #expect(try time(module) == before)
            // A further version has a folder of its own, and with the app all of them go.
            try await host.daemon.delete(app)
            #expect(!FileManager.default.fileExists(atPath: cache))
        }
    }

    @Test func `a small app that was slow at its check starts in a worker of the pool all the same`()
        async throws
    {
        try await HostFixture.with {
            $0.limits.slowImport = .zero
        } _: { host in
            try await host.deploy("counter", Apps.counter)
            #expect(try await host.send(to: "counter").body == "1")
            #expect(!FileManager.default.fileExists(atPath: host.folder.path + "/state/apps/counter/cache"))
        }
    }
}
