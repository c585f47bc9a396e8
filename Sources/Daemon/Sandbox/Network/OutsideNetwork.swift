import CSandbox
import Dispatch
import Foundation

/// The network through which workers' packets leave: this process's own, or one that was named.
final class OutsideNetwork: Sendable {
    /// -1 for this process's own.
    let network: Int32
    private let thread: JobThread?

    /// `path`: a file of a network namespace, as `ip netns` makes them in `/run/netns`.
    init(path: String?) throws(SystemError) {
        guard let path else {
            (network, thread) = (-1, nil)
            return
        }
        let fd = try SystemError.check(csandbox_open_read(path), "open the network \(path)")
        let thread = JobThread(name: "outside")
        do throws(SystemError) {
            try thread.perform { () throws(SystemError) in
                try SystemError.check(csandbox_enter_network(fd), "enter the network \(path)")
            }
        } catch {
            csandbox_close(fd)
            thread.end()
            throw error
        }
        (self.network, self.thread) = (fd, thread)
    }

    deinit { if network >= 0 { csandbox_close(network) } }

    /// Runs `body` in it.
    @discardableResult
    func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws(SystemError) -> Value
    ) throws(SystemError) -> Value {
        guard let thread else { return try body() }
        return try thread.perform(body)
    }

    func end() { thread?.end() }

    /// The text of a file below `/proc/sys`, as it is there.
    func setting(_ name: String) -> String {
        let text = try? run { () throws(SystemError) in ControlGroupDetection.text("/proc/sys/" + name) }
        return (text ?? "").trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// The interface that the default route leads to.
    func defaultRoute(_ family: Int32) -> String? {
        let name = try? run { () throws(SystemError) -> String? in
            var name = [CChar](repeating: 0, count: 16)
            guard csandbox_default_route(family, &name) == 1 else { return nil }
            return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        }
        return name ?? nil
    }

    /// All addresses of its interfaces but those that are out of reach anyway.
    func addresses() -> Set<IPAddress>? {
        let all = try? run { () throws(SystemError) -> Set<IPAddress> in
            var first: UnsafeMutablePointer<ifaddrs>?
            guard getifaddrs(&first) == 0 else { throw SystemError(errno, "list the host's addresses") }
            defer { freeifaddrs(first) }
            var found: Set<IPAddress> = []
            var next = first
            while let entry = next {
                next = entry.pointee.ifa_next
                guard let address = entry.pointee.ifa_addr, let value = IPAddress(socket: address) else {
                    continue
                }
                found.insert(value)
            }
            return found
        }
        return all?.filter { AddressRules().allows($0) }
    }
}

extension IPAddress {
    /// The address in a socket's address; nil for other families.
    init?(socket: UnsafePointer<sockaddr>) {
        let raw = UnsafeRawPointer(socket)
        switch Int32(socket.pointee.sa_family) {
        case AF_INET:
            let address = raw.loadUnaligned(as: sockaddr_in.self)
            self.init(bytes: withUnsafeBytes(of: address.sin_addr) { Array($0) })
        case AF_INET6:
            let address = raw.loadUnaligned(as: sockaddr_in6.self)
            self.init(bytes: withUnsafeBytes(of: address.sin6_addr) { Array($0) })
        default: return nil
        }
    }
}

/// What the network needs of other programs and of the kernel's settings.
enum NetworkTools {
    /// Loads rules into a network with `nft`.
    static func load(_ rules: String, in network: Int32, nft: String, scratch: String) throws {
        guard FileManager.default.isExecutableFile(atPath: nft) else {
            throw SystemError(
                ENOENT,
                "run \(nft), which keeps the network's rules (Debian: apt-get install nftables)"
            )
        }
        let file = scratch + "/rules-\(UUID().uuidString.prefix(8)).nft"
        try StateFolder.write(Data(rules.utf8), to: file, mode: 0o600)
        defer { unlink(file) }
        var command = ChildProcess.Command(path: nft, arguments: ["-f", file], environment: [:])
        command.network = network
        let output = ToolOutput()
        let queue = DispatchQueue(label: "nft")
        let child = try ChildProcess.start(command, queue: queue) { output.take($1) }
        // A few milliseconds, once at start.
        for _ in 0..<5000 where child.end.value == nil { usleep(2000) }
        guard child.end.value != nil else {
            child.signal(SIGKILL)
            throw SystemError(ETIMEDOUT, "load the network's rules with \(nft)")
        }
        guard child.end.value == .exited(status: 0) else {
            throw SystemError(ENOTSUP, "load the network's rules with \(nft): \(output.text.prefix(500))")
        }
    }

    /// Writes a setting of the calling thread's network.
    static func set(_ name: String, _ value: String) throws(SystemError) {
        let path = "/proc/sys/" + name
        let fd = try SystemError.check(csandbox_open_write(path), "open \(path)")
        defer { csandbox_close(fd) }
        var value = value
        let result = value.withUTF8 { csandbox_write(fd, $0.baseAddress, UInt64($0.count)) }
        try SystemError.check(result, "write \(value) to \(path)")
    }
}
