import CSandbox
import Foundation
import Glibc
import Synchronization

/// Clients that write and read all the time, each request on a connection of its own, and remember every answer.
///
/// A client's thread lives in the network namespace of the machine that it is on.
final class Clients: Sendable {
    struct Door: Sendable {
        var host: String
        var address: String
        var port: UInt16
    }

    /// What one client does.
    struct Task: Sendable {
        var app: String
        var doors: [Door]
        /// Every how many requests is a write; 0 for none.
        var writesEvery = 2
        var pause = Duration.milliseconds(30)
        /// How long the client waits for an answer.
        var patience = Duration.seconds(60)
    }

    private let machine: TestNetwork.Machine
    private let state = Mutex(State())
    private let threads = DispatchGroup()

    private struct State {
        var record = AnswerRecord()
        var isStopped = false
        var lastRow: [String: String] = [:]
        var problem: String?
    }

    init(on machine: TestNetwork.Machine) { self.machine = machine }

    func start(_ tasks: [Task]) {
        for task in tasks {
            threads.enter()
            Thread.detachNewThread { [self] in
                run(task)
                threads.leave()
            }
        }
    }

    var record: AnswerRecord { state.withLock { $0.record } }

    /// Ends all clients after their present requests.
    func stop() async throws -> AnswerRecord {
        state.withLock { $0.isStopped = true }
        await withCheckedContinuation { continuation in
            threads.notify(queue: .global()) { continuation.resume() }
        }
        return try state.withLock { state in
            if let problem = state.problem { throw Failure(problem) }
            return state.record
        }
    }

    /// One request from the clients' machine.
    func send(_ method: String, _ path: String, app: String, to door: Door) async -> Answer {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread { [self] in
                enter()
                continuation.resume(
                    returning: Self.exchange(method, path, app: app, row: "", door, patience: .seconds(60))
                )
            }
        }
    }

    // MARK: - A client

    private func run(_ task: Task) {
        enter()
        var number = Int.random(in: 0..<max(1, task.doors.count))
        let prefix = String(UInt64.random(in: 0...UInt64.max), radix: 36)
        while !state.withLock({ $0.isStopped }) {
            number += 1
            let isWrite = task.writesEvery > 0 && number % task.writesEvery == 0
            // Asks for what somebody was told is kept.
            let row =
                isWrite ? "\(prefix)-\(number)" : state.withLock { $0.lastRow[task.app] ?? "none" }
            let door = task.doors[number / max(1, task.writesEvery) % task.doors.count]
            let answer = Self.exchange(
                isWrite ? "POST" : "GET",
                "/?id=\(row)",
                app: task.app,
                row: row,
                door,
                patience: task.patience
            )
            state.withLock { state in
                state.record.add(answer)
                if isWrite, answer.status == 200 { state.lastRow[task.app] = row }
            }
            let pause = task.pause.components
            usleep(UInt32(pause.seconds * 1_000_000 + pause.attoseconds / 1_000_000_000_000))
        }
    }

    /// Moves the calling thread to the clients' machine.
    private func enter() {
        guard let file = machine.file else { return }
        let descriptor = open(file, O_RDONLY | O_CLOEXEC)
        defer { close(descriptor) }
        let error = descriptor < 0 ? errno : -csandbox_enter_network(descriptor)
        if error != 0 {
            state.withLock { $0.problem = "enter \(file): \(String(cString: strerror(error)))" }
        }
    }

    // MARK: - A request

    private static func exchange(
        _ method: String,
        _ path: String,
        app: String,
        row: String,
        _ door: Door,
        patience: Duration
    ) -> Answer {
        let begin = ContinuousClock.now
        var answer = Answer(
            app: app,
            isWrite: method == "POST",
            row: row,
            port: door.host,
            begin: begin,
            end: begin
        )
        let text =
            "\(method) \(path) HTTP/1.1\r\nHost: \(app).localhost\r\nConnection: close\r\n"
            + (method == "POST" ? "Content-Length: 0\r\n" : "") + "\r\n"
        switch transfer(text, to: door, patience: patience) {
        case .failure(let failure): answer.body = failure.description
        case .success(let bytes): read(bytes, into: &answer)
        }
        answer.end = .now
        return answer
    }

    private static func read(_ bytes: [UInt8], into answer: inout Answer) {
        let text = String(decoding: bytes, as: UTF8.self)
        guard let end = text.range(of: "\r\n\r\n") else {
            answer.body = "not a whole answer: \(text.prefix(200))"
            return
        }
        let lines = text[..<end.lowerBound].components(separatedBy: "\r\n")
        answer.body = String(text[end.upperBound...])
        answer.status = Int(lines[0].split(separator: " ").dropFirst().first ?? "") ?? 0
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
            switch line[..<colon].lowercased() {
            case "served-by": answer.host = value
            case "served-epoch": answer.epoch = Int(value) ?? 0
            case "content-length":
                // A body that was cut off is no answer.
                if let length = Int(value), length != answer.body.utf8.count {
                    answer.status = 0
                    answer.body = "the answer ends too soon"
                    return
                }
            default: break
            }
        }
    }

    private static func transfer(
        _ text: String,
        to door: Door,
        patience: Duration
    ) -> Result<[UInt8], Failure> {
        func failure(_ what: String) -> Result<[UInt8], Failure> {
            .failure(Failure("\(what): \(String(cString: strerror(errno)))"))
        }
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return failure("socket") }
        defer { close(descriptor) }
        var limit = timeval(tv_sec: Int(patience.components.seconds), tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(door.port).bigEndian
        address.sin_addr.s_addr = inet_addr(door.address)
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0 else { return failure("connect") }
        let bytes = Array(text.utf8)
        guard Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
            return failure("send")
        }
        var received: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count < 0 { return failure("receive") }
            guard count > 0 else {
                return received.isEmpty
                    ? .failure(Failure("the connection was closed")) : .success(received)
            }
            received += buffer[..<count]
        }
    }
}
