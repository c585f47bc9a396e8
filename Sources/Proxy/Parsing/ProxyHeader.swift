import CProxy
import Glibc

/// The header with which a load balancer begins a connection, to say who the client is (HAProxy's PROXY protocol,
/// version 2, sections 2.2 to 2.3).
struct ProxyHeader: Equatable {
    var length: Int
    /// The client's address in text and its port; empty for a connection of the balancer itself.
    var address: String
    var port: UInt16

    enum Scan: Equatable {
        case incomplete
        case refused
        case complete(ProxyHeader)
    }

    /// The fixed part, and the most that may follow it: addresses and extensions.
    static let fixedBytes = 16
    static let maximumBytes = 16 + 2048

    private static let signature: StaticString = "\r\n\r\n\0\r\nQUIT\n"

    static func scan(_ bytes: Bytes, _ count: Int) -> Scan {
        let compared = min(count, 12)
        guard memcmp(bytes, signature.utf8Start, compared) == 0 else { return .refused }
        guard count >= fixedBytes else { return .incomplete }
        guard bytes[12] >> 4 == 2, bytes[12] & 15 <= 1 else { return .refused }
        let rest = Int(bytes[14]) << 8 | Int(bytes[15])
        guard fixedBytes + rest <= maximumBytes else { return .refused }
        guard count >= fixedBytes + rest else { return .incomplete }
        var header = ProxyHeader(length: fixedBytes + rest, address: "", port: 0)
        // LOCAL: the balancer speaks for itself, and the addresses are not to be used.
        if bytes[12] & 15 == 0 { return .complete(header) }
        let isV6: Bool
        switch bytes[13] {
        case 0x11: isV6 = false
        case 0x21: isV6 = true
        // UNSPEC: the receiver keeps the address of the connection.
        case 0x00: return .complete(header)
        default: return .refused
        }
        let addressBytes = isV6 ? 16 : 4
        guard rest >= addressBytes * 2 + 4 else { return .refused }
        var text = [CChar](repeating: 0, count: Int(CPROXY_ADDRESS_TEXT))
        cproxy_format_address(bytes + fixedBytes, isV6 ? 1 : 0, &text)
        header.address = String(
            decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) },
            as: UTF8.self
        )
        let portAt = fixedBytes + addressBytes * 2
        header.port = UInt16(bytes[portAt]) << 8 | UInt16(bytes[portAt + 1])
        return .complete(header)
    }
}
