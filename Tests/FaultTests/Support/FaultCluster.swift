import TestSupport
import Foundation
import Glibc
import StorageTestSupport
import Supervision

/// A whole cluster as processes of its own, each of which a test may kill, freeze or cut off.
///
/// Temporal with a database file, SeaweedFS, control, and hosts with real workers. Nothing starts one again but the test.
final class FaultCluster: Sendable {
    struct Options: Sendable {
        var hosts = 3
        /// Each part in a network namespace of its own.
        var isOnNetwork = false
        var hostArguments: [String] = []
    }

    let folder: URL
    let network: TestNetwork?
    let temporal: Part
    let store: Part
    let control: Part
    let hosts: [String: Part]
    /// Where each host's ingress is.
    let doors: [Clients.Door]
    /// Where clients are.
    let client: TestNetwork.Machine
    private let controlAddress: String
    private let storePorts: [Int]

    /// Runs `body` with a cluster whose hosts are all online, and removes everything, whatever happens.
    static func with(
        _ options: Options = Options(),
        _ body: (FaultCluster) async throws -> Void
    ) async throws {
        let names = (1...options.hosts).map { "h\($0)" }
        guard options.isOnNetwork else { return try await run(names, options, network: nil, body) }
        try await TestNetwork.with(["temporal", "store", "control", "client"] + names) { network in
            try await run(names, options, network: network, body)
        }
    }

    private static func run(
        _ names: [String],
        _ options: Options,
        network: TestNetwork?,
        _ body: (FaultCluster) async throws -> Void
    ) async throws {
        let folder = URL(filePath: "/tmp/martlet-faults-\(UUID().uuidString.prefix(8).lowercased())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let cluster = try FaultCluster(names, options, network: network, folder: folder)
        do {
            try await cluster.start()
            try await body(cluster)
        } catch {
            cluster.report(error)
            await cluster.end()
            throw error
        }
        await cluster.end()
    }

    private init(_ names: [String], _ options: Options, network: TestNetwork?, folder: URL) throws {
        self.folder = folder
        self.network = network
        func machine(_ name: String) -> TestNetwork.Machine { network?.machines[name] ?? .loopback(name) }
        let ports = network == nil ? freePorts(6 + 2 * names.count) : Array(20_000..<20_100)
        client = machine("client")
        let secret = folder.appending(path: "secret")
        try Data("0123456789abcdef0123456789abcdef".utf8).write(to: secret)
        storePorts = Array(ports[0..<4])
        let weed = SeaweedFS.command(
            folder: folder.appending(path: "weed").path,
            ports: storePorts,
            address: machine("store").address
        )
        try SeaweedFS.prepare(folder: folder.appending(path: "weed").path)
        store = Part(
            "store",
            machine("store").command(
                weed.executable,
                weed.arguments,
                environment: weed.environment,
                folder: weed.folder
            )
        )
        let temporalAddress = "\(machine("temporal").address):\(ports[4])"
        temporal = Part(
            "temporal",
            machine("temporal").command(
                tool("temporal"),
                [
                    // Its parts find each other on loopback, so that one address is not enough.
                    "server", "start-dev", "--headless", "--ip", network == nil ? "127.0.0.1" : "0.0.0.0",
                    "--port",
                    "\(ports[4])", "--http-port", "0", "--db-filename",
                    folder.appending(path: "temporal.db").path, "--log-level", "error",
                ],
                environment: ["HOME": folder.path, "PATH": "/usr/bin:/bin"]
            )
        )
        let bucket = "s3://dev/apps?endpoint=http://\(machine("store").address):\(ports[0])&style=path"
        let shared = [
            "--store", bucket, "--temporal", temporalAddress, "--secret-file", secret.path,
        ]
        var environment = SeaweedFS.environment
        environment["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
        environment["HOME"] = folder.path
        environment["SWIFT_BACKTRACE"] = "enable=no"
        controlAddress = "http://\(machine("control").address):\(ports[5])"
        control = Part(
            "control",
            machine("control").command(
                product("martlet"),
                [
                    "control", "--data", folder.appending(path: "control").path, "--listen",
                    machine("control").address, "--port", "\(ports[5])", "--no-config", "--round", "30s",
                ] + shared,
                environment: environment
            )
        )
        var hosts: [String: Part] = [:]
        var doors: [Clients.Door] = []
        for (index, name) in names.enumerated() {
            let (address, port) = (machine(name).address, ports[6 + 2 * index])
            let command = machine(name).command(
                product("martlet"),
                [
                    "host", "--id", name, "--data", folder.appending(path: name).path, "--listen", address,
                    "--port", "\(port)", "--peer-listen", "\(address):\(ports[7 + 2 * index])",
                    "--sleep-after", "1h", "--runtime", "\(repositoryFolder)/Runtime",
                    "--deno", tool("deno"), "--litestream", tool("litestream"),
                ] + shared + options.hostArguments,
                environment: environment
            )
            hosts[name] = Part(name, command)
            doors.append(Clients.Door(host: name, address: address, port: UInt16(port)))
        }
        (self.hosts, self.doors) = (hosts, doors)
    }

    private var parts: [Part] {
        [control] + hosts.sorted { $0.key < $1.key }.map(\.value) + [temporal, store]
    }

    private func start() async throws {
        try store.start()
        try temporal.start()
        try control.start()
        for host in hosts.values { try host.start() }
        try await until("all hosts are online") {
            for part in parts where !part.isRunning {
                // The store and Temporal may not answer yet.
                try part.start()
            }
            return try await online().count == hosts.count
        }
    }

    private func end() async {
        await withTaskGroup(of: Void.self) { group in
            for part in hosts.values { group.addTask { await part.stop() } }
            group.addTask { await self.control.stop() }
        }
        await temporal.kill()
        await store.kill()
        SeaweedFS.removeSockets(ports: storePorts)
        endFrozenWorkers()
    }

    /// Workers that were frozen when their host was killed stay until it is started again; here it is not.
    private func endFrozenWorkers() {
        for name in hosts.keys {
            for line in (try? processes(of: name)) ?? [] {
                guard let process = line.split(separator: " ").first.flatMap({ Int32($0) }) else { continue }
                kill(process, SIGKILL)
                let groups = (try? String(contentsOfFile: "/proc/\(process)/cgroup", encoding: .utf8)) ?? ""
                for group in groups.split(separator: "\n") {
                    let parts = group.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
                    guard parts.count == 3, parts[1] == "freezer" else { continue }
                    // Where the second version of control groups is in use, a frozen process can be killed.
                    try? Data("THAWED".utf8).write(
                        to: URL(filePath: "/sys/fs/cgroup/freezer\(parts[2])/freezer.state")
                    )
                }
            }
        }
    }

    private func report(_ error: any Error) {
        print("the cluster's last words, before: \(error)")
        for part in parts {
            // Those two are not ours, and say a lot.
            let isOther = part === temporal || part === store
            for line in part.lines.suffix(isOther ? 3 : 30) { print("  \(part.name): \(line)") }
        }
    }

    // MARK: - What a test asks

    func host(_ name: String) throws -> Part {
        guard let part = hosts[name] else { throw Failure("there is no host \(name)") }
        return part
    }

    func door(_ host: String) throws -> Clients.Door {
        guard let door = doors.first(where: { $0.host == host }) else { throw Failure("no host \(host)") }
        return door
    }

    /// Runs a command of the program as a person would, from the clients' machine.
    func martlet(_ arguments: String...) async throws -> String {
        var environment = [
            "PATH": "/usr/bin:/bin", "HOME": folder.path, "MARTLET_API": controlAddress, "TERM": "dumb",
        ]
        let token = folder.appending(path: "control/token")
        environment["MARTLET_TOKEN"] = try? String(contentsOf: token, encoding: .utf8).trimmingCharacters(
            in: .whitespacesAndNewlines
        )
        // Into a file: lines of a program that has ended may still be on their way.
        let file = folder.appending(path: "output-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: file) }
        let shell = ["-c", "exec \"$0\" \"$@\" > '\(file.path)' 2>&1", product("martlet")]
        let process = try ChildProcess(
            client.command("/bin/sh", shell + arguments, environment: environment)
        ) { _ in }
        let status = await process.wait()
        let text = try String(contentsOf: file, encoding: .utf8)
        guard status.isSuccess else {
            throw Failure("martlet \(arguments.joined(separator: " ")): \(status): \(text)")
        }
        return text
    }

    func deploy(_ app: String, sleepAfter: String = "1h", durability: String = "gated") async throws {
        let source = folder.appending(path: "source/\(app)")
        try WitnessApp.write(to: source, sleepAfter: sleepAfter, durability: durability)
        _ = try await martlet("deploy", source.path, "--name", app)
    }

    /// The host of each app and its operations, as control knows them.
    func operations(of app: String) async throws -> [[String: Any]] {
        let object = try Self.json(try await martlet("apps", "show", app, "--json")) as? [String: Any]
        return object?["operations"] as? [[String: Any]] ?? []
    }

    /// Which hosts are online or draining.
    func online() async throws -> [String] {
        do {
            let list = try Self.json(try await martlet("hosts", "--json")) as? [[String: Any]] ?? []
            return list.filter { $0["state"] as? String == "online" }.compactMap { $0["id"] as? String }
        } catch is Failure { return [] }
    }

    /// Has an app on a host; it may be there already, or on its way to somewhere by balance.
    func place(_ app: String, on host: String) async throws {
        var problem = "it answers nowhere"
        do {
            try await until("\(app) is on \(host)") {
                do {
                    if try await owner(of: app) == host { return true }
                    _ = try await martlet("move", app, "--to", host)
                } catch let failure as Failure { problem = failure.description }
                return false
            }
        } catch { throw Failure("\(error): \(problem)") }
    }

    /// The host that answers for an app.
    func owner(of app: String) async throws -> String {
        let clients = Clients(on: client)
        for door in doors {
            let answer = await clients.send("GET", "/", app: app, to: door)
            if answer.status == 200 { return answer.host }
        }
        throw Failure("no host answers for \(app)")
    }

    /// All rows that an app has, asked through a host.
    func rows(of app: String, through host: String) async throws -> Set<String> {
        let answer = await Clients(on: client).send("GET", "/all", app: app, to: try door(host))
        guard answer.status == 200 else { throw Failure("\(app)/all: \(answer.status) \(answer.body)") }
        return Set(answer.body.split(separator: "\n").map(String.init))
    }

    /// Processes of a host, whoever started them: those that name its folder.
    func processes(of host: String) throws -> [String] {
        let data = folder.appending(path: host).path + "/"
        return try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { entry in
            guard Int32(entry) != nil,
                let bytes = FileManager.default.contents(atPath: "/proc/\(entry)/cmdline")
            else { return nil }
            let line = String(decoding: bytes, as: UTF8.self).split(separator: "\0").joined(separator: " ")
            return line.contains(data) ? "\(entry) \(line)" : nil
        }
    }

    func until(
        _ what: String,
        _ limit: Duration = .seconds(120),
        _ condition: () async throws -> Bool
    ) async throws {
        let deadline = ContinuousClock.now + limit
        while ContinuousClock.now < deadline {
            if try await condition() { return }
            try await Task.sleep(for: .milliseconds(100))
        }
        throw Failure("it never came true that \(what)")
    }

    private static func json(_ text: String) throws -> Any {
        guard let start = text.firstIndex(where: { $0 == "[" || $0 == "{" }) else {
            throw Failure("no JSON: \(text)")
        }
        return try JSONSerialization.jsonObject(with: Data(text[start...].utf8))
    }
}
