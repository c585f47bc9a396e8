import Archive
import Control
@testable import Daemon
import Dispatch
import Foundation
import TestSupport
import Testing

/// Apps with packages from a registry on loopback, and the examples.
@Suite(.serialized) struct PackageTests {
    @Test func `packages are installed at the deployment and found by the app`() async throws {
        let folder = URL(fileURLWithPath: "/tmp/martlet-npm-\(UUID().uuidString.prefix(8).lowercased())")
        defer { try? FileManager.default.removeItem(at: folder) }
        let registry = try await Registry.start(folder)
        defer { registry.child.signal(SIGKILL) }
        try await HostFixture.with {
            $0.packageEnvironment = ["NPM_CONFIG_REGISTRY": "http://127.0.0.1:\(registry.port)/"]
        } _: { host in
            let files = [
                "package.json": #"{ "dependencies": { "greeter": "^1.0.0" } }"#,
                "main.ts": """
                import { greet } from "greeter";
                export default { fetch: () => new Response(greet("world")) };
                """,
            ]
            try await host.deploy("greeting", files)
            let answer = try await host.send(to: "greeting")
            #expect(answer.body == "hello, world")
            var missing = files
            missing["package.json"] = #"{ "dependencies": { "nowhere-to-be-found": "^1.0.0" } }"#
            do {
                try await host.deploy("missing", missing)
                Issue.record("the deployment succeeded")
            } catch let error as MartletError {
                #expect(error.code == .checkFailed)
                #expect(error.message.contains("nowhere-to-be-found"), "\(error.message)")
            }
        }
    }

    @Test func `names of an import map are found by the app`() async throws {
        try await HostFixture.with { host in
            let files = [
                "deno.json": #"{ "imports": { "@greet": "./lib/greet.ts", "lib/": "./lib/" } }"#,
                "lib/greet.ts": "export const greet = (name: string) => `hello, ${name}`;\n",
                "lib/name.ts": "export const name = \"map\";\n",
                "main.ts": """
                import { greet } from "@greet";
                import { name } from "lib/name.ts";
                export default { fetch: () => new Response(greet(name)) };
                """,
            ]
            try await host.deploy("mapped", files)
            let answer = try await host.send(to: "mapped")
            #expect(answer.body == "hello, map")
        }
    }

    @Test func `the types of an app are checked when it is deployed, after a restart too, and gaps are told`()
        async throws
    {
        let folder = URL(fileURLWithPath: "/tmp/martlet-test-\(UUID().uuidString.prefix(8).lowercased())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let configuration = try HostFixture.configuration(folder)
        let files = [
            "deno.json": "{ // With a comment.\n \"imports\": { \"@types\": \"./types.ts\" }, }",
            "types.ts": "export interface Todo { title: string }\n",
            "main.ts": """
            import { serve } from "martlet";
            import type { Todo } from "@types";
            export function add(todo: Todo): string { return todo.title; }
            export function odd(x: symbol): string { return String(x); }
            export default serve({ "POST /todos": add, "GET /odd/:x": odd });
            """,
            // Only the platform writes here.
            ".martlet/schema.json": "nonsense",
        ]
        func add(_ body: String, _ host: HostFixture) async throws -> Int {
            try await host.send("POST", "/todos", to: "typed", body: body).status
        }
        try await HostFixture.with(configuration, folder) { host in
            let deployment = try await host.deploy("typed", files)
            #expect(
                deployment.warnings.contains { $0.hasPrefix("main.ts:4: odd(x) is not checked") },
                "\(deployment)"
            )
            #expect(try await add(#"{"title":3}"#, host) == 400)
            #expect(try await add(#"{"title":"x"}"#, host) == 200)
            // The same content again, which is in its place already.
            #expect(try await host.deploy("typed", files).warnings == deployment.warnings)
        }
        try await HostFixture.with(configuration, folder) { host in
            #expect(try await add(#"{"title":3}"#, host) == 400)
            let untyped = try await host.deploy("untyped", Apps.saying("x"))
            #expect(untyped.warnings.isEmpty)
        }
    }

    @Test(arguments: ["guestbook", "chat", "ticker", "files", "todos"])
    func `an example can be deployed and answers`(example: String) async throws {
        try await HostFixture.with { host in
            let archive = host.folder.appending(path: "example.tar.gz")
            _ = try ArchiveWriter().pack(HostFixture.root.appending(path: "examples/" + example), to: archive)
            let upload = Upload(name: try ApplicationID(validating: example), archive: archive, owner: .local)
            _ = try await host.daemon.deploy(upload) { _ in }
            let answer = try await host.send(to: example)
            #expect(answer.status < 400, "\(answer.body)")
        }
    }

    /// A registry with one package: files that Python's HTTP server hands out.
    private struct Registry {
        let child: ChildProcess
        let port: UInt16

        static func start(_ folder: URL) async throws -> Registry {
            let package = folder.appending(path: "source/package")
            try FileManager.default.createDirectory(at: package, withIntermediateDirectories: true)
            try #"{ "name": "greeter", "version": "1.0.0", "type": "module", "main": "index.js" }"#
                .write(to: package.appending(path: "package.json"), atomically: false, encoding: .utf8)
            try "export function greet(name) { return \"hello, \" + name; }\n"
                .write(to: package.appending(path: "index.js"), atomically: false, encoding: .utf8)
            let site = folder.appending(path: "site")
            try FileManager.default.createDirectory(at: site, withIntermediateDirectories: true)
            _ = try ArchiveWriter().pack(
                folder.appending(path: "source"),
                to: site.appending(path: "greeter-1.0.0.tgz")
            )
            let port = freePort()
            try """
            { "name": "greeter", "dist-tags": { "latest": "1.0.0" }, "versions": { "1.0.0": {
              "name": "greeter", "version": "1.0.0",
              "dist": { "tarball": "http://127.0.0.1:\(port)/greeter-1.0.0.tgz" } } } }
            """.write(to: site.appending(path: "greeter"), atomically: false, encoding: .utf8)
            let child = try ChildProcess.start(
                .init(
                    path: "/usr/bin/env",
                    arguments: ["python3", "-m", "http.server", "\(port)", "--bind", "127.0.0.1"],
                    environment: ProcessInfo.processInfo.environment,
                    directory: site.path
                ),
                queue: DispatchQueue(label: "registry"),
                onLine: { _, _ in }
            )
            try await HostFixture.wait("the registry answers") {
                (try? await HTTPClient.send("GET", "/greeter", host: "127.0.0.1", port: port))?.status == 200
            }
            return Registry(child: child, port: port)
        }
    }
}
