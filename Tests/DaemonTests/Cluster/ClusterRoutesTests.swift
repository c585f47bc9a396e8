import ClusterContract
import Control
@testable import Daemon
import Foundation
import Proxy
import Slicer
import Testing

/// The table that routers ask, against the value that control hands out.
struct ClusterRoutesTests {
    private func directory() throws -> PeerDirectory {
        PeerDirectory(group: try PeerGroup(secret: "0123456789abcdef"), limits: PeerLimits())
    }

    private func host(_ number: Int) throws -> RouteHost {
        RouteHost(
            id: try Control.HostID(validating: "h\(number)"),
            peer: HostAddress(address: "127.0.0.1", port: UInt16(1000 + number))
        )
    }

    @Test(arguments: [UInt64(1), 2, 3, 4, 5, 6, 7, 8]) func `every app is where the table says`(
        seed: UInt64
    ) throws {
        var random = SeededGenerator(seed: seed)
        let hosts = try (0..<Int.random(in: 1...7, using: &random)).map(host)
        let count = Int.random(in: 1...200, using: &random)
        var starts: Set<UInt64> = [0]
        while starts.count < count { starts.insert(UInt64.random(in: .min ... .max, using: &random)) }
        var exceptions: [ApplicationID: RouteException] = [:]
        for _ in 0..<Int.random(in: 0...50, using: &random) {
            let app = try ApplicationID(validating: "app-\(Int.random(in: 0...500, using: &random))")
            exceptions[app] = RouteException(
                app: app,
                host: hosts.randomElement(using: &random)?.id ?? hosts[0].id,
                epoch: 1
            )
        }
        let table = try Control.RouteTable(
            generation: 3,
            hosts: hosts,
            starts: starts.sorted(),
            owners: (0..<starts.count).map { _ in Int.random(in: 0..<hosts.count, using: &random) },
            exceptions: exceptions
        )
        let routes = ClusterRoutes(table, host: hosts[0].id, directory: try directory())
        for number in 0...500 {
            let app = try ApplicationID(validating: "app-\(number)")
            let expected = table.host(of: app)
            switch routes.place(of: app) {
            case .here:
                #expect(expected.id == hosts[0].id && exceptions[app] == nil, "seed \(seed), \(app)")
            case .awaited: #expect(exceptions[app]?.host == hosts[0].id, "seed \(seed), \(app)")
            case .peer(let peer):
                #expect(peer.host == expected.id, "seed \(seed), \(app)")
                #expect(peer.address == expected.peer)
            case nil: Issue.record("seed \(seed): \(app) is nowhere")
            }
        }
    }

    @Test func `an app on a host that is lost waits for it`() throws {
        let app = try ApplicationID(validating: "guestbook")
        let lost = try Control.HostID(validating: "lost")
        let table = try Control.RouteTable(
            generation: 1,
            hosts: [try host(0)],
            starts: [0],
            owners: [0],
            exceptions: [app: RouteException(app: app, host: lost, epoch: 4)]
        )
        let routes = ClusterRoutes(table, host: try host(0).id, directory: try directory())
        guard case .peer(let peer) = routes.place(of: app) else {
            Issue.record("the app is not at a peer")
            return
        }
        #expect(peer.host == lost)
        #expect(peer.upstream == nil)
    }

    @Test func `a peer is the same as long as its address is`() throws {
        let directory = try directory()
        let first = directory.peer(try host(1).id, at: try host(1).peer)
        #expect(directory.peer(try host(1).id, at: try host(1).peer) === first)
        #expect(directory.peer(try host(1).id, at: nil) === first)
        let moved = directory.peer(try host(1).id, at: try host(2).peer)
        #expect(moved !== first)
        // Requests that wait for the host wait for it at its new address.
        #expect(moved.waiting === first.waiting)
        #expect(moved.address == (try host(2).peer))
    }

    @Test func `the hash of bytes in place is that of the name`() {
        for name in ["", "a", "guestbook", String(repeating: "x", count: 63)] {
            var text = name
            #expect(text.withUTF8 { Key(hashing: $0) } == Key(hashing: name))
        }
    }
}
