import Archive
import Control
import CSandbox
import Daemon
import Foundation
import Glibc
import TestSupport
import Testing

/// A host with an app that attacks and a neighbour that has a secret.
struct HostileHost {
    let fixture: HostFixture
    let secret: String
    private let targets: String

    static let attacker = "attacker"
    static let victim = "victim"

    /// What the attacker may use: little, so that bombs go off soon.
    static let settings = """
        { "limits": { "memory": "128MiB", "disk": "24MiB", "requestTimeout": "3s", "cpu": 1 } }
        """

    static func with(
        _ change: (inout HostConfiguration) -> Void = { _ in },
        _ body: (HostileHost) async throws -> Void
    ) async throws {
        let internet = try TestInternet(forwards: true)
        let abstract = AbstractListener()
        let (listener, listenerPort) = try Self.listen()
        defer { close(listener) }
        try await HostFixture.with {
            $0.network.outside = internet.machinePath
            $0.network.resolvers = [internet.resolver]
            $0.limits.diskFiles = 2000
            change(&$0)
        } _: { fixture in
            await fixture.daemon.waitForNetwork()
            let secret = "secret-" + UUID().uuidString
            try await fixture.deploy(victim, neighbour(secret))
            #expect(try await fixture.send(to: victim).body == secret)
            let upload = try Self.upload(fixture)
            defer { try? FileManager.default.removeItem(at: upload.archive) }
            _ = try await fixture.daemon.deploy(upload) { _ in }
            let state = fixture.folder.path + "/state"
            let targets: [String: Any] = [
                "state": state, "victimData": state + "/apps/victim/data", "victimSecret": secret,
                "victimSocket": socket(in: state), "pids": processes(),
                "ports": [Int(fixture.port), Int(listenerPort)], "abstractSocket": abstract.name,
                "forbidden": TestInternet.forbidden.filter { $0 != "127.0.0.1" && $0 != "::1" },
            ]
            let text = String(decoding: try JSONSerialization.data(withJSONObject: targets), as: UTF8.self)
            try await body(HostileHost(fixture: fixture, secret: secret, targets: text))
        }
        withExtendedLifetime((internet, abstract)) {}
    }

    private struct Outcome: Decodable {
        var escaped: String?
        var error: String?
    }

    func names() async throws -> [String] {
        let answer = try await fixture.send("GET", "/names", to: Self.attacker)
        return try JSONDecoder().decode([String].self, from: Data(answer.body.utf8))
    }

    /// Runs an attack: what it reached, or nil.
    func attack(_ name: String) async throws -> String? {
        let query = name.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? name
        let answer = try await fixture.send("POST", "/run?case=\(query)", to: Self.attacker, body: targets)
        guard answer.status == 200,
            let outcome = try? JSONDecoder().decode(Outcome.self, from: Data(answer.body.utf8))
        else { return "the attacker answered with \(answer.status): \(answer.body.prefix(300))" }
        return outcome.escaped
    }

    /// Whether the neighbour answers as ever.
    func expectNeighbour(after name: String) async throws {
        let answer = try await fixture.send(to: Self.victim)
        #expect(
            answer.status == 200 && answer.body == secret,
            "after \(name): \(answer.status) \(answer.body.prefix(200))"
        )
    }

    // MARK: - Parts

    private static func neighbour(_ secret: String) -> [String: String] {
        [
            "main.ts": """
            import { DatabaseSync } from "node:sqlite";
            const db = new DatabaseSync(Deno.env.get("MARTLET_DATA") + "/main.db");
            db.exec("create table if not exists secrets (text)");
            db.prepare("insert into secrets values (?)").run("\(secret)");
            export default {
              fetch: () => new Response(String(db.prepare("select text from secrets limit 1").get().text)),
            };
            """,
            "martlet.json": "{ \"env\": { \"SECRET\": \"\(secret)\" } }",
        ]
    }

    /// The attacker with a native program, a library and a WebAssembly module beside its scripts.
    private static func upload(_ fixture: HostFixture) throws -> Upload {
        let source = fixture.folder.appending(path: "attacker-source")
        let scripts = HostFixture.root.appending(path: "Tests/DaemonTests/Hostile")
        try FileManager.default.copyItem(at: scripts, to: source)
        defer { try? FileManager.default.removeItem(at: source) }
        try Data(settings.utf8).write(to: source.appending(path: "martlet.json"))
        let program = try #require(Confinement.find())
        try FileManager.default.copyItem(atPath: program, toPath: source.appending(path: "native").path)
        let library = ["/lib/x86_64-linux-gnu/libm.so.6", "/lib/aarch64-linux-gnu/libm.so.6"]
            .first { FileManager.default.fileExists(atPath: $0) }
        try Data(contentsOf: URL(fileURLWithPath: try #require(library)))
            .write(to: source.appending(path: "native.so"))
        let compiler = Process()
        compiler.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        compiler.arguments = [
            "clang", "--target=wasm32", "-O1", "-nostdlib", "-Wl,--no-entry", "-o",
            source.appending(path: "wasi.wasm").path, scripts.appending(path: "wasi.c").path,
        ]
        try compiler.run()
        compiler.waitUntilExit()
        try #require(
            compiler.terminationStatus == 0,
            "clang with wasm-ld is needed (they are a part of Swift)"
        )
        let archive = fixture.folder.appending(path: "attacker.tar.gz")
        _ = try ArchiveWriter().pack(source, to: archive)
        return Upload(name: try ApplicationID(validating: attacker), archive: archive, owner: .local)
    }

    private static func socket(in state: String) -> String {
        let run = state + "/run"
        let workers = (try? FileManager.default.contentsOfDirectory(atPath: run)) ?? []
        return workers.map { run + "/\($0)/a.sock" }.first { FileManager.default.fileExists(atPath: $0) }
            ?? run
    }

    /// This process and all below it.
    private static func processes() -> [Int] {
        var parents: [Int: Int] = [:]
        for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {
            guard let pid = Int(name), let data = FileManager.default.contents(atPath: "/proc/\(pid)/stat")
            else { continue }
            let text = String(decoding: data, as: UTF8.self)
            guard let end = text.lastIndex(of: ")") else { continue }
            let fields = text[end...].split(separator: " ")
            if fields.count > 2, let parent = Int(fields[2]) { parents[pid] = parent }
        }
        var found = [Int(getpid())]
        var index = 0
        while index < found.count {
            found += parents.filter { $0.value == found[index] }.keys
            index += 1
        }
        return found
    }

    /// Stands for what a host runs beside apps.
    private static func listen() throws -> (Int32, UInt16) {
        let fd = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(fd, $0, size) + Glibc.listen(fd, 8) + getsockname(fd, $0, &size)
            }
        }
        try #require(fd >= 0 && result == 0)
        return (fd, UInt16(bigEndian: address.sin_port))
    }
}

/// Listens on a socket that has a name and no file.
final class AbstractListener {
    let name = "martlet-test-\(UUID().uuidString.prefix(8))"
    private let fd: Int32

    init() {
        fd = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { path in
            for (index, byte) in name.utf8.enumerated() { path[index + 1] = byte }
        }
        let size = socklen_t(MemoryLayout<sa_family_t>.size + 1 + name.utf8.count)
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(fd, $0, size) + listen(fd, 8) }
        }
        if result != 0 { Issue.record("the abstract socket could not be made: errno \(errno)") }
    }

    deinit { close(fd) }
}
