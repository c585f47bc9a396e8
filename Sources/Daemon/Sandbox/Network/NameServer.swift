import CSandbox
import Dispatch
import Foundation
import Glibc
import Logging
import Synchronization

/// Answers the workers' questions for names: asks the host's resolvers, and lets no answer pass that leads where apps may
/// not go.
final class NameServer: Sendable {
    typealias Allow = @Sendable (IPAddress, Int) -> Void

    /// Questions that wait for a resolver at the same time; more get no answer, and are asked again by who wants it.
    private static let maximumPending = 512
    private static let maximumStreams = 16
    private static let patience = DispatchTimeInterval.seconds(5)
    /// An address stays allowed for longer than its record says, because programs keep it for longer.
    private static let additionalSeconds = 600

    private struct Client {
        var filter: NameFilter
        var onRefusal: @Sendable (String) -> Void
        var allow: Allow
        var refusals = 0
    }

    private struct State {
        var clients: [IPAddress: Client] = [:]
        var rules: AddressRules
        var pending = 0
        var streams = 0
        var sources: [ReadSource] = []
    }

    private let outside: OutsideNetwork
    private let resolvers: Resolvers
    private let queue = DispatchQueue(label: "names")
    private let datagrams: Int32
    private let state: Mutex<State>
    private let cluster: AddressRules
    private let logger: Logger

    init(
        inside: JobThread,
        outside: OutsideNetwork,
        resolvers: [String],
        rules: AddressRules,
        logger: Logger
    ) throws {
        self.outside = outside
        self.resolvers = Resolvers(given: resolvers)
        self.logger = logger
        cluster = rules
        state = Mutex(State(rules: rules))
        let address = NetworkGateway.address.bytes
        let (datagrams, streams) = try inside.perform { () throws(SystemError) in
            let datagrams = try SystemError.check(
                csandbox_serve(Int32(SOCK_DGRAM.rawValue), address, 53),
                "listen for questions for names"
            )
            let streams = csandbox_serve(Int32(SOCK_STREAM.rawValue), address, 53)
            if streams < 0 { csandbox_close(datagrams) }
            return (datagrams, try SystemError.check(streams, "listen for questions for names"))
        }
        self.datagrams = datagrams
        _ = csandbox_set_nonblocking(datagrams)
        _ = csandbox_set_nonblocking(streams)
        let udp = ReadSource(
            datagrams,
            queue: queue,
            onReadable: { [weak self] source in if let self { self.receive() } else { source.cancel() } },
            onEnd: { csandbox_close(datagrams) }
        )
        let tcp = ReadSource(
            streams,
            queue: queue,
            onReadable: { [weak self] source in if let self { self.accept(streams) } else { source.cancel() }
            },
            onEnd: { csandbox_close(streams) }
        )
        state.withLock { $0.sources = [udp, tcp] }
        udp.activate()
        tcp.activate()
    }

    func close() {
        let sources = state.withLock { state in
            defer { state.sources = [] }
            return state.sources
        }
        for source in sources { source.cancel() }
    }

    /// Says what a worker may ask.
    func set(
        _ policy: NamePolicy,
        of worker: IPAddress,
        onRefusal: @escaping @Sendable (String) -> Void,
        allow: @escaping Allow
    ) {
        state.withLock { state in
            state.clients[worker] = Client(
                filter: NameFilter(policy: policy, rules: state.rules),
                onRefusal: onRefusal,
                allow: allow
            )
        }
    }

    func forget(_ worker: IPAddress) { state.withLock { $0.clients[worker] = nil } }

    func setOwn(_ addresses: Set<IPAddress>) {
        state.withLock { state in
            state.rules = AddressRules(extra: cluster.extra + addresses.compactMap { IPRange("\($0)") })
            for key in state.clients.keys { state.clients[key]?.filter.rules = state.rules }
        }
    }

    // MARK: - Datagrams

    private func receive() {
        for _ in 0..<32 {
            var buffer = [UInt8](repeating: 0, count: 4096)
            var from = sockaddr_in()
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            let count = withUnsafeMutablePointer(to: &from) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    recvfrom(datagrams, &buffer, buffer.count, 0, $0, &size)
                }
            }
            guard count > 0 else { return }
            // Nobody waits for an answer to nonsense.
            guard let worker = IPAddress(bytes: withUnsafeBytes(of: from.sin_addr) { Array($0) }),
                let message = try? NameMessage(Array(buffer[..<count])),
                !message.isResponse
            else { continue }
            let client = from
            switch judge(message, worker) {
            case .answer(let answer): send(answer, to: client)
            case .ask: ask(message, worker, client)
            }
        }
    }

    private func send(_ answer: [UInt8], to client: sockaddr_in) {
        var client = client
        _ = withUnsafePointer(to: &client) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(datagrams, answer, answer.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    /// Asks a resolver from a socket of its own: a new port and a new number for each question, which one who would forge
    /// an answer must guess.
    private func ask(_ message: NameMessage, _ worker: IPAddress, _ client: sockaddr_in) {
        let isFree = state.withLock { state in
            guard state.pending < Self.maximumPending else { return false }
            state.pending += 1
            return true
        }
        guard isFree else { return }
        let id = UInt16.random(in: 0...UInt16.max)
        guard let fd = open(SOCK_DGRAM, isBlocking: false) else {
            state.withLock { $0.pending -= 1 }
            return send(message.answer(.serverFailure), to: client)
        }
        let question = message.with(id: id)
        let source = ReadSource(
            fd,
            queue: queue,
            onReadable: { [weak self] source in
                var buffer = [UInt8](repeating: 0, count: 65_535)
                let count = recv(fd, &buffer, buffer.count, 0)
                if count < 0 {
                    if errno != EAGAIN { source.cancel() }
                    return
                }
                guard let self, let answer = try? NameMessage(Array(buffer[..<count])), answer.id == id else {
                    return
                }
                self.send(self.filter(answer, message, worker), to: client)
                source.cancel()
            },
            onEnd: { [weak self] in
                csandbox_close(fd)
                self?.state.withLock { $0.pending -= 1 }
            }
        )
        source.activate()
        _ = csandbox_send(fd, question, UInt64(question.count))
        queue.asyncAfter(deadline: .now() + Self.patience) { source.cancel() }
    }

    // MARK: - Streams

    private func accept(_ listener: Int32) {
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let fd = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                // No child inherits it: children close what they are not given.
                Glibc.accept(listener, $0, &size)
            }
        }
        guard fd >= 0 else { return }
        let worker = IPAddress(bytes: withUnsafeBytes(of: address.sin_addr) { Array($0) })
        let isFree = state.withLock { state in
            guard worker != nil, state.streams < Self.maximumStreams else { return false }
            state.streams += 1
            return true
        }
        guard isFree, let worker else { return csandbox_close(fd) }
        // Rare: answers that do not fit in a datagram. One question each, on a thread that may wait.
        DispatchQueue.global(qos: .utility).async { [self] in
            defer {
                csandbox_close(fd)
                state.withLock { $0.streams -= 1 }
            }
            Self.limitTime(of: fd)
            guard let bytes = Self.readMessage(fd), let message = try? NameMessage(bytes), !message.isResponse
            else {
                return
            }
            var answer = message.answer(.serverFailure)
            switch judge(message, worker) {
            case .answer(let ready): answer = ready
            case .ask:
                guard let upstream = open(SOCK_STREAM, isBlocking: true) else { break }
                defer { csandbox_close(upstream) }
                let id = UInt16.random(in: 0...UInt16.max)
                if Self.writeMessage(upstream, message.with(id: id)), let bytes = Self.readMessage(upstream),
                    let received = try? NameMessage(bytes), received.id == id
                {
                    answer = filter(received, message, worker)
                }
            }
            _ = Self.writeMessage(fd, answer)
        }
    }

    private static func limitTime(of fd: Int32) {
        var limit = timeval(tv_sec: 5, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(fd, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
    }

    private static func readMessage(_ fd: Int32) -> [UInt8]? {
        guard let head = read(fd, 2) else { return nil }
        return read(fd, Int(head[0]) << 8 | Int(head[1]))
    }

    private static func read(_ fd: Int32, _ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var got = 0
        while got < count {
            let result = bytes.withUnsafeMutableBytes { bytes in
                csandbox_read(fd, bytes.baseAddress.map { $0 + got }, UInt64(count - got))
            }
            guard result > 0 else { return nil }
            got += Int(result)
        }
        return bytes
    }

    private static func writeMessage(_ fd: Int32, _ message: [UInt8]) -> Bool {
        let bytes = [UInt8(message.count >> 8), UInt8(message.count & 0xFF)] + message
        return csandbox_send(fd, bytes, UInt64(bytes.count)) == bytes.count
    }

    // MARK: - Deciding

    private enum Verdict {
        case answer([UInt8])
        case ask
    }

    private func judge(_ message: NameMessage, _ worker: IPAddress) -> Verdict {
        // A worker without an app asks nothing.
        guard let client = state.withLock({ $0.clients[worker] }) else {
            return .answer(message.answer(.refused))
        }
        switch client.filter.judge(message.question) {
        case .ask: return .ask
        case .answer(let code, let reason):
            if let reason { tell(worker, reason) }
            return .answer(message.answer(code))
        }
    }

    private func filter(_ answer: NameMessage, _ question: NameMessage, _ worker: IPAddress) -> [UInt8] {
        guard let client = state.withLock({ $0.clients[worker] }) else { return question.answer(.refused) }
        switch client.filter.judge(answer: answer, to: question.question) {
        case .pass(let records):
            if client.filter.policy != .open {
                // Before the answer, so that the first connection finds its way.
                for record in records.prefix(32) {
                    client.allow(record.address, min(record.seconds, 86_400) + Self.additionalSeconds)
                }
            }
            return answer.with(id: question.id)
        case .drop(let reason):
            tell(worker, reason)
            return question.answer(.noSuchName)
        }
    }

    /// Tells the app's log, some times for each worker.
    private func tell(_ worker: IPAddress, _ reason: String) {
        let sink = state.withLock { state -> (@Sendable (String) -> Void)? in
            guard var client = state.clients[worker], client.refusals < 20 else { return nil }
            client.refusals += 1
            state.clients[worker] = client
            return client.onRefusal
        }
        sink?(reason)
    }

    // MARK: - Resolvers

    /// A socket that is connected to a resolver.
    private func open(_ type: __socket_type, isBlocking: Bool) -> Int32? {
        guard var resolver = resolvers.next() else { return nil }
        let kind =
            Int32(type.rawValue | SOCK_CLOEXEC.rawValue) | (isBlocking ? 0 : Int32(SOCK_NONBLOCK.rawValue))
        let family = Int32(resolver.storage.ss_family)
        let fd = try? outside.run { () throws(SystemError) in
            try SystemError.check(socket(family, kind, 0), "make a socket")
        }
        guard let fd else { return nil }
        if isBlocking { Self.limitTime(of: fd) }
        let size = resolver.size
        let result = withUnsafePointer(to: &resolver.storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(fd, $0, size) }
        }
        guard result == 0 else {
            csandbox_close(fd)
            return nil
        }
        return fd
    }
}

/// The resolvers of the host, in turn.
private final class Resolvers: Sendable {
    struct Address: Sendable {
        var storage = sockaddr_storage()
        var size: socklen_t
    }

    private struct State {
        var addresses: [Address] = []
        var turn = 0
        var readAt: Uptime?
    }

    private let given: [String]
    private let state = Mutex(State())

    /// `given`: `address` or `address#port`; without any those of `/etc/resolv.conf`, read again every 30 s.
    init(given: [String]) { self.given = given }

    func next() -> Address? {
        state.withLock { state in
            let now = uptime()
            if state.readAt.map({ now - $0 > .seconds(30) }) ?? true {
                state.addresses = (given.isEmpty ? Self.configured() : given).prefix(3).compactMap(
                    Self.address
                )
                state.readAt = now
            }
            guard !state.addresses.isEmpty else { return nil }
            state.turn = (state.turn + 1) % state.addresses.count
            return state.addresses[state.turn]
        }
    }

    private static func configured() -> [String] {
        ControlGroupDetection.text("/etc/resolv.conf").split(separator: "\n").compactMap { line in
            let words = line.split(whereSeparator: \.isWhitespace)
            return words.count >= 2 && words[0] == "nameserver" ? String(words[1]) : nil
        }
    }

    private static func address(_ text: String) -> Address? {
        let parts = text.split(separator: "#")
        guard let first = parts.first, let address = IPAddress(String(first)) else { return nil }
        let port = parts.count > 1 ? UInt16(parts[1]) ?? 53 : 53
        if address.isIPv4 {
            var value = sockaddr_in()
            value.sin_family = sa_family_t(AF_INET)
            value.sin_port = port.bigEndian
            withUnsafeMutableBytes(of: &value.sin_addr) { $0.copyBytes(from: address.bytes) }
            return wrap(value)
        }
        var value = sockaddr_in6()
        value.sin6_family = sa_family_t(AF_INET6)
        value.sin6_port = port.bigEndian
        withUnsafeMutableBytes(of: &value.sin6_addr) { $0.copyBytes(from: address.bytes) }
        return wrap(value)
    }

    private static func wrap<Value>(_ value: Value) -> Address {
        var address = Address(size: socklen_t(MemoryLayout<Value>.size))
        withUnsafeBytes(of: value) { bytes in
            withUnsafeMutableBytes(of: &address.storage) { $0.copyMemory(from: bytes) }
        }
        return address
    }
}
