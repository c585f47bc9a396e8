import Foundation
import Glibc

/// Ports on loopback that nothing listens on, all below the number that SeaweedFS adds 10,000 to.
package func freePorts(_ count: Int) -> [Int] {
    var found: [Int] = []
    while found.count < count {
        let port = Int.random(in: 20_000..<50_000)
        if !found.contains(port), canBind(port), canBind(port + 10_000) { found.append(port) }
    }
    return found
}

private func canBind(_ port: Int) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    return withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
        }
    }
}

/// A port on loopback that nothing listens on.
package func freePort() -> UInt16 { UInt16(freePorts(1)[0]) }
