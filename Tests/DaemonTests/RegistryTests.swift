import TestSupport
import Archive
import Control
@testable import Daemon
import Dispatch
import Foundation
import Testing

/// What `.npmrc` says, alone.
struct RegistrySettingsTests {
    @Test(
        arguments: [
            ("//a.example/:_authToken=${NPM_TOKEN}\nregistry=https://a.example/", ["NPM_TOKEN"], []),
            ("# //a.example/:_authToken=secret\n; ${OLD}", [], []),
            ("//a.example/:_authToken=secret", [], [1]),
            ("\n//a.example/:_password = \"c2VjcmV0\"\n_auth=${A}", ["A"], [2]),
            ("//a.example/:_authToken=prefix-${A?}", ["A"], [1]),
            ("//a.example/:username=ada\r\n//a.example/:_authToken=${A}\r\n", ["A"], []),
            ("", [], []),
        ] as [(String, Set<String>, [Int])]
    )
    func `tokens are to be named, and only names are looked up`(
        text: String,
        names: Set<String>,
        clear: [Int]
    ) {
        let settings = RegistrySettings(text: text)
        #expect(settings.variables == names)
        #expect(settings.clearLines == clear)
    }
}

extension RegistrySettingsTests {
    @Test func `the file in the documentation names a variable and has no secret`() throws {
        let page = try String(
            contentsOf: HostFixture.root.appending(path: "docs/framework.md"),
            encoding: .utf8
        )
        let block = try #require(page.firstMatch(of: /```ini\n([^`]*)```/))
        let settings = RegistrySettings(text: String(block.1))
        #expect(settings.variables == ["NPM_TOKEN"])
        #expect(settings.clearLines == [])
    }
}

/// Apps with a package of a registry that asks for a token.
@Suite(.serialized) struct RegistryTests {
    private static let token = "sesame-4711-0815"

    private func files(_ more: [String: String] = [:]) -> [String: String] {
        [
            "package.json": #"{ "dependencies": { "greeter": "^1.0.0" } }"#,
            ".npmrc": "//127.0.0.1:\(port)/:_authToken=${NPM_TOKEN}\n",
            "main.ts": """
            import { greet } from "greeter";
            export default { fetch: () => new Response(greet("world")) };
            """,
        ].merging(more) { $1 }
    }

    private let port = freePort()

    @Test func `a token goes to the registry and nowhere else, and what fails keeps the running version`()
        async throws
    {
        let folder = URL(fileURLWithPath: "/tmp/martlet-npm-\(UUID().uuidString.prefix(8).lowercased())")
        defer { try? FileManager.default.removeItem(at: folder) }
        let registry = try await PrivateRegistry.start(folder, port: port, token: Self.token)
        defer { registry.child.signal(SIGKILL) }
        try await HostFixture.with {
            $0.packageEnvironment = ["NPM_CONFIG_REGISTRY": "http://127.0.0.1:\(port)/"]
        } _: { host in
            let app = try ApplicationID(validating: "greeting")
            try await host.deploy("greeting", Apps.saying("first"))
            // Who has no token is told so, and what ran goes on.
            try await refused(host, files(), .checkFailed, "greeter")
            try await refused(
                host,
                files([".npmrc": "//127.0.0.1:\(port)/:_authToken=\(Self.token)\n"]),
                .invalidSettings,
                ".npmrc:1"
            )
            #expect(try await host.send(to: "greeting").body == "first")
            try await host.daemon.setEnvironment(
                [EnvironmentVariable(name: "NPM_TOKEN", value: Self.token, isSecret: true)],
                of: app
            )
            try await host.deploy("greeting", files())
            #expect(try await host.send(to: "greeting").body == "hello, world")
            #expect(try registry.asked().contains("/greeter-1.0.0.tgz Bearer \(Self.token)"))
            // A script of a package runs only where the app names it.
            try await host.deploy(
                "greeting",
                files(["deno.json": #"{ "allowScripts": ["npm:greeter@1.0.0"] }"#])
            )
            #expect(try await host.send(to: "greeting").body == "scripted")
            let old = """
                { "version": "5", "specifiers": { "npm:greeter@^0.9.0": "0.9.0" },
                  "npm": { "greeter@0.9.0": { "integrity": "sha512-AAAA" } },
                  "workspace": { "packageJson": { "dependencies": ["npm:greeter@^0.9.0"] } } }
                """
            try await refused(host, files(["deno.lock": old]), .checkFailed, "lockfile")
            // Out of reach: as after a cut, nothing listens.
            registry.child.signal(SIGKILL)
            _ = await registry.child.end.wait(atMost: .seconds(30))
            try await refused(host, files(["new.ts": "export {};"]), .checkFailed, "127.0.0.1")
            #expect(try await host.send(to: "greeting").body == "scripted")
            let leaks = try Self.files(with: Self.token, below: host.folder)
            #expect(leaks == [])
            // That the search looks into artifacts and versions.
            let named = try Self.files(with: "_authToken=${NPM_TOKEN}", below: host.folder)
            #expect(
                named.contains { $0.contains(".tar.gz: ") } && named.contains { $0.contains("versions/") }
            )
        }
    }

    private func refused(
        _ host: HostFixture,
        _ files: [String: String],
        _ code: MartletError.Code,
        _ part: String
    ) async throws {
        let error = await #expect(throws: MartletError.self) { try await host.deploy("greeting", files) }
        #expect(error?.code == code)
        #expect(error?.message.contains(part) == true, "\(error?.message ?? "")")
        #expect(error?.message.contains(Self.token) == false)
    }

    /// The files of a host that have a text in them, packed ones unpacked: artifacts, versions, state and logs.
    private static func files(with text: String, below folder: URL) throws -> [String] {
        var found: [String] = []
        guard let walk = FileManager.default.enumerator(atPath: folder.path) else { return [] }
        while let name = walk.nextObject() as? String {
            // What the test itself has uploaded lies beside the host's folder.
            guard !name.hasPrefix("source"), !name.hasPrefix("upload"),
                !name.hasSuffix(".tar.gz") || name.contains("artifacts/")
            else { continue }
            let path = folder.path + "/" + name
            guard let data = FileManager.default.contents(atPath: path) else { continue }
            if data.range(of: Data(text.utf8)) != nil { found.append(name) }
            guard name.hasSuffix(".tar.gz") else { continue }
            let unpacked = FileManager.default.temporaryDirectory.appending(path: "leak-\(UUID().uuidString)")
            defer { try? FileManager.default.removeItem(at: unpacked) }
            _ = try ArchiveReader.unpack(URL(fileURLWithPath: path), into: unpacked)
            found += try files(with: text, below: unpacked).map { name + ": " + $0 }
        }
        return found
    }
}

/// A registry with one package, for those who have its token; the package has an install script.
private struct PrivateRegistry {
    let child: ChildProcess
    private let log: URL

    /// Requests so far: the path, and the header `authorization`.
    func asked() throws -> String { try String(contentsOf: log, encoding: .utf8) }

    static func start(_ folder: URL, port: UInt16, token: String) async throws -> PrivateRegistry {
        let package = folder.appending(path: "source/package")
        try FileManager.default.createDirectory(at: package, withIntermediateDirectories: true)
        let scripts = #"{ "postinstall": "echo 'export const greet = () => \"scripted\";' > index.js" }"#
        let manifest = """
            { "name": "greeter", "version": "1.0.0", "type": "module", "main": "index.js", "scripts": \(scripts) }
            """
        try manifest.write(to: package.appending(path: "package.json"), atomically: false, encoding: .utf8)
        try "export function greet(name) { return \"hello, \" + name; }\n"
            .write(to: package.appending(path: "index.js"), atomically: false, encoding: .utf8)
        let site = folder.appending(path: "site")
        try FileManager.default.createDirectory(at: site, withIntermediateDirectories: true)
        let tarball = site.appending(path: "greeter-1.0.0.tgz")
        _ = try ArchiveWriter().pack(folder.appending(path: "source"), to: tarball)
        try """
        { "name": "greeter", "dist-tags": { "latest": "1.0.0" }, "versions": { "1.0.0": {
          "name": "greeter", "version": "1.0.0", "hasInstallScript": true, "scripts": \(scripts),
          "dist": { "tarball": "http://127.0.0.1:\(port)/greeter-1.0.0.tgz" } } } }
        """.write(to: site.appending(path: "greeter"), atomically: false, encoding: .utf8)
        let log = folder.appending(path: "asked")
        try Data().write(to: log)
        let server = """
            import http.server, sys
            class Handler(http.server.SimpleHTTPRequestHandler):
                def do_GET(self):
                    who = self.headers.get("authorization")
                    with open(sys.argv[2], "a") as log: log.write(f"{self.path} {who}\\n")
                    if who != "Bearer " + sys.argv[3]: return self.send_error(401)
                    super().do_GET()
                def log_message(self, *arguments): pass
            http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
            """
        let child = try ChildProcess.start(
            .init(
                path: "/usr/bin/env",
                arguments: ["python3", "-c", server, "\(port)", log.path, token],
                environment: ProcessInfo.processInfo.environment,
                directory: site.path
            ),
            queue: DispatchQueue(label: "registry"),
            onLine: { _, _ in }
        )
        try await HostFixture.wait("the registry answers") {
            (try? await HTTPClient.send("GET", "/greeter", host: "127.0.0.1", port: port))?.status == 401
        }
        return PrivateRegistry(child: child, log: log)
    }
}
