import Glibc

/// An internet address: 4 bytes, or 16.
package struct IPAddress: Hashable, Sendable, CustomStringConvertible {
    package let bytes: [UInt8]

    /// Takes 4 or 16 bytes; an IPv4 address that is written as one of IPv6 (`::ffff:a.b.c.d`) becomes what it is.
    package init?(bytes: some Collection<UInt8>) {
        let bytes = Array(bytes)
        switch bytes.count {
        case 4: self.bytes = bytes
        case 16:
            let isMapped = bytes[..<10].allSatisfy { $0 == 0 } && bytes[10] == 0xFF && bytes[11] == 0xFF
            self.bytes = isMapped ? Array(bytes[12...]) : bytes
        default: return nil
        }
    }

    /// Takes the bytes of a known address: 4 or 16.
    init(known bytes: [UInt8]) {
        precondition(bytes.count == 4 || bytes.count == 16)
        self.bytes = bytes
    }

    /// Reads a numeric address.
    package init?(_ text: String) {
        var four = in_addr()
        var sixteen = in6_addr()
        if inet_pton(AF_INET, text, &four) == 1 {
            self.init(bytes: withUnsafeBytes(of: &four) { Array($0) })
        } else if inet_pton(AF_INET6, text, &sixteen) == 1 {
            self.init(bytes: withUnsafeBytes(of: &sixteen) { Array($0) })
        } else {
            return nil
        }
    }

    package var isIPv4: Bool { bytes.count == 4 }

    package var description: String {
        var buffer = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        return bytes.withUnsafeBytes { bytes in
            guard
                inet_ntop(isIPv4 ? AF_INET : AF_INET6, bytes.baseAddress, &buffer, socklen_t(buffer.count))
                    != nil
            else { return "?" }
            return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        }
    }
}

/// A range of addresses, such as `10.0.0.0/8`.
package struct IPRange: Hashable, Sendable, CustomStringConvertible {
    package let base: IPAddress
    package let prefix: Int

    /// Reads `address/prefix`, or an address alone.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let base = IPAddress(String(parts[0])) else { return nil }
        guard let prefix = parts.count == 2 ? Int(parts[1]) : base.bytes.count * 8,
            (0...base.bytes.count * 8).contains(prefix)
        else { return nil }
        self.base = base
        self.prefix = prefix
    }

    init(base: IPAddress, prefix: Int) {
        self.base = base
        self.prefix = prefix
    }

    package func contains(_ address: IPAddress) -> Bool {
        guard address.bytes.count == base.bytes.count else { return false }
        let whole = prefix / 8
        guard address.bytes[..<whole] == base.bytes[..<whole] else { return false }
        let rest = prefix % 8
        guard rest > 0 else { return true }
        let mask = UInt8(truncatingIfNeeded: 0xFF00 >> rest)
        return address.bytes[whole] & mask == base.bytes[whole] & mask
    }

    package var description: String { "\(base)/\(prefix)" }
}
