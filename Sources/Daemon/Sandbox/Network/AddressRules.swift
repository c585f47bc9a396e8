/// Which addresses an app may reach: those of the public internet, and of these none of the host's or the cluster's.
package struct AddressRules: Sendable, Equatable {
    /// Not reachable from the public internet (IANA's registry of special-purpose addresses, RFC 6890), and multicast.
    package static let denied4 = ranges([
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
    ])
    /// The only part of IPv6 that is given out for the public internet.
    package static let public6 = ranges(["2000::/3"])
    /// What is not public in it: protocol assignments with Teredo, and 6to4, which holds an IPv4 address.
    package static let denied6 = ranges(["2001::/23", "2002::/16"])

    /// The host's own and the cluster's.
    package var extra: [IPRange]

    package init(extra: [IPRange] = []) { self.extra = extra }

    package func allows(_ address: IPAddress) -> Bool {
        if extra.contains(where: { $0.contains(address) }) { return false }
        if address.isIPv4 { return !Self.denied4.contains { $0.contains(address) } }
        return Self.public6.contains { $0.contains(address) }
            && !Self.denied6.contains { $0.contains(address) }
    }

    private static func ranges(_ texts: [String]) -> [IPRange] { texts.compactMap(IPRange.init) }
}

/// What a worker may use of the network.
package struct NetworkLimits: Sendable, Equatable {
    /// In each direction.
    package var bytesPerSecond: Int
    /// Open at the same time.
    package var connections: Int
    /// Begun in a second.
    package var newConnections: Int

    package init(bytesPerSecond: Int = 12_500_000, connections: Int = 256, newConnections: Int = 100) {
        self.bytesPerSecond = bytesPerSecond
        self.connections = connections
        self.newConnections = newConnections
    }
}

/// The rules as nftables reads them (nft(8)).
package enum NetworkRuleset {
    /// The table of the gateway, through which all packets of all workers go.
    ///
    /// Workers differ only in whether they are members of `limited4` and `limited6`, so that an assignment changes no
    /// rule.
    package static func gateway(_ rules: AddressRules, _ limits: NetworkLimits, resolver: IPAddress) -> String
    {
        let refuse = "reject with icmpx admin-prohibited"
        let extra4 = rules.extra.filter(\.base.isIPv4)
        let extra6 = rules.extra.filter { !$0.base.isIPv4 }
        return """
            table inet martlet {
              set denied4 { type ipv4_addr; flags interval; auto-merge; \(elements(AddressRules.denied4 + extra4)) }
              set denied6 { type ipv6_addr; flags interval; auto-merge; \(elements(AddressRules.denied6 + extra6)) }
              set own4 { type ipv4_addr; }
              set own6 { type ipv6_addr; }
              set limited4 { type ipv4_addr; }
              set limited6 { type ipv6_addr; }
              set allowed4 { type ipv4_addr . ipv4_addr; flags timeout; size 65536; }
              set allowed6 { type ipv6_addr . ipv6_addr; flags timeout; size 65536; }
              set open4 { type ipv4_addr; flags dynamic; size 65536; }
              set open6 { type ipv6_addr; flags dynamic; size 65536; }
              set begun4 { type ipv4_addr; flags dynamic, timeout; timeout 1m; size 65536; }
              set begun6 { type ipv6_addr; flags dynamic, timeout; timeout 1m; size 65536; }
              set asked { type ipv4_addr; flags dynamic, timeout; timeout 1m; size 65536; }

              chain forward {
                type filter hook forward priority filter; policy drop;
                iifname "up" ct state established,related accept
                iifname "up" drop
                oifname != "up" \(refuse)
                ip daddr @denied4 \(refuse)
                ip daddr @own4 \(refuse)
                ip6 daddr != \(AddressRules.public6[0]) \(refuse)
                ip6 daddr @denied6 \(refuse)
                ip6 daddr @own6 \(refuse)
                meta l4proto != { tcp, udp } \(refuse)
                ct state established,related accept
                ct state invalid drop
                ip saddr @limited4 ip saddr . ip daddr != @allowed4 \(refuse)
                ip6 saddr @limited6 ip6 saddr . ip6 daddr != @allowed6 \(refuse)
                update @begun4 { ip saddr limit rate over \(limits.newConnections)/second burst \(limits.newConnections * 2) packets } \(refuse)
                update @begun6 { ip6 saddr limit rate over \(limits.newConnections)/second burst \(limits.newConnections * 2) packets } \(refuse)
                add @open4 { ip saddr ct count over \(limits.connections) } \(refuse)
                add @open6 { ip6 saddr ct count over \(limits.connections) } \(refuse)
                ct state new accept
              }

              chain input {
                type filter hook input priority filter; policy drop;
                icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
                iifname "up" ct state established,related accept
                iifname "up" drop
                ip daddr \(resolver) meta l4proto { tcp, udp } th dport 53 update @asked { ip saddr limit rate over 50/second burst 200 packets } \(refuse)
                ip daddr \(resolver) meta l4proto { tcp, udp } th dport 53 accept
                \(refuse)
              }

              chain leaving {
                type nat hook postrouting priority srcnat; policy accept;
                oifname "up" masquerade
              }
            }

            """
    }

    /// The table in the host's own network where the gateway is connected to it by a pair of interfaces.
    ///
    /// It takes precedence over the host's own filter in refusing, and in nothing else.
    ///
    /// `uplink`: the host's end of the pair.
    package static func host(table: String, uplink: String, source4: IPRange, source6: IPRange?) -> String {
        let masquerade6 = source6.map { "ip6 saddr \($0) masquerade" } ?? ""
        return """
            table inet \(table)
            delete table inet \(table)
            table inet \(table) {
              chain input {
                type filter hook input priority filter - 10; policy accept;
                iifname "\(uplink)" icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
                iifname "\(uplink)" reject with icmpx admin-prohibited
              }
              chain forward {
                type filter hook forward priority filter - 10; policy accept;
                oifname "\(uplink)" ct state new drop
              }
              chain leaving {
                type nat hook postrouting priority srcnat; policy accept;
                ip saddr \(source4) masquerade
                \(masquerade6)
              }
            }

            """
    }

    private static func elements(_ ranges: [IPRange]) -> String {
        ranges.isEmpty ? "" : "elements = { " + ranges.map(\.description).joined(separator: ", ") + " }"
    }
}
