package import Control
package import struct Foundation.Date

import Slicer

// Both modules have one; here it is always the one that people see.
package typealias HostID = Control.HostID

/// What the slicer knows and decides, as a value: hosts, slices, where each app is, and what is on its way.
///
/// ```
///               register                  drain                  empty
///   (unknown) ───────────► online ─────────────────► draining ──────────► drained
///                           ▲  │ ▲                      │                    │
///                  register │  │ └──── undrain ─────────┤                    │ leave
///                           │  ▼ lease over             ▼                    ▼
///                          lost ◄───────────────────────┘                (unknown)
/// ```
/// An app's place follows from the slices, except that a move takes time. So there are two steps, and each can be
/// repeated: a round changes the slices (``round(_:now:)``), and ``reconcile(now:)`` begins moves, never too many at
/// once, for apps that are not where their slice is. Whatever fails is seen again as such an app.
///
/// Nothing here looks at a clock: the time comes in.
package struct SlicerState: Codable, Sendable, Equatable {
    package var policy: SlicerPolicy
    /// Ascending by name.
    package internal(set) var hosts: [Member] = []
    package internal(set) var apps: [ApplicationID: Residence] = [:]
    /// New apps for which there is no host yet.
    package internal(set) var asking: Set<ApplicationID> = []
    package internal(set) var slices: SliceRecord?
    /// Of the routes; it grows with every change of them.
    package internal(set) var generation = 0
    package internal(set) var maxToMean: Double?
    package internal(set) var hotKeys: [UInt64] = []
    var decisions = 0

    package init(policy: SlicerPolicy) { self.policy = policy }

    /// A host of the cluster.
    package struct Member: Codable, Sendable, Equatable {
        package var registration: HostRegistration
        package var state: HostSummary.State
        package var since: Date
        /// The highest term of its lease that is known to be over.
        package var endedTerm = 0
        /// Microseconds of CPU time in a second, as of the last round.
        package var load = 0

        package var id: HostID { registration.host }
        package var route: RouteHost { RouteHost(id: id, peer: registration.peer) }
    }

    /// Where an app is.
    package struct Residence: Codable, Sendable, Equatable {
        package var host: HostID
        package var epoch: Int
        package var transit: Transit?
        /// A person wants it there.
        package var pinnedTo: HostID?
        /// After failed moves: no planned move before this.
        package var notBefore: Date?
        package var failures = 0
        package var load = 0
        package var bytes = 0
        package var isAwake = false

        package init(host: HostID, epoch: Int, transit: Transit? = nil) {
            self.host = host
            self.epoch = epoch
            self.transit = transit
        }

        private enum CodingKeys: String, CodingKey {
            // Short, because there is one for each app in every run's input.
            case host = "h"
            case epoch = "e"
            case transit = "t"
            case pinnedTo = "p"
            case notBefore = "n"
            case failures = "f"
            case load = "l"
            case bytes = "b"
            case isAwake = "w"
        }
    }

    /// A change of place under way.
    package struct Transit: Codable, Sendable, Equatable {
        package var to: HostID
        package var cause: PlacementCause
        package var since: Date
        package var operation: String
    }

    /// The slices, in a form that can be kept.
    package struct SliceRecord: Codable, Sendable, Equatable {
        package var generation: UInt64
        package var hosts: [HostID]
        package var slices: RouteSlices

        init(_ assignment: Assignment) throws {
            generation = assignment.generation.number
            hosts = try assignment.hosts.map { try HostID(validating: $0.name) }
            slices = RouteSlices(starts: assignment.starts, owners: assignment.owners)
        }

        func assignment() throws -> Assignment {
            try Assignment(
                generation: Generation(generation),
                hosts: hosts.map { Slicer.HostID($0.rawValue) },
                starts: slices.starts,
                owners: slices.owners
            )
        }
    }

    package func member(_ host: HostID) -> Member? { hosts.first { $0.id == host } }

    /// Changes a member in place.
    mutating func update(_ host: HostID, _ change: (inout Member) -> Void) {
        guard let index = hosts.firstIndex(where: { $0.id == host }) else { return }
        change(&hosts[index])
    }

    var online: [Member] { hosts.filter { $0.state == .online } }

    var isDraining: Bool { hosts.contains { $0.state == .draining } }

    /// Terms of leases that are known to be over, by host.
    var endedTerms: [String: Int] {
        Dictionary(hosts.filter { $0.endedTerm > 0 }.map { ($0.id.rawValue, $0.endedTerm) }) { $1 }
    }

    /// Apps that nobody serves at the moment.
    package var unavailable: Int { apps.values.count { $0.transit?.cause == .failover } }

    /// Planned moves under way.
    var plannedMoves: Int { apps.values.count { $0.transit?.cause.isPlanned == true } }

    /// Whether so many apps are unavailable that no planned move may begin.
    package var refusesPlannedMoves: Bool {
        unavailable > max(policy.unavailableFloor, Int(Double(apps.count) * policy.unavailableShare))
    }

    mutating func decision(
        _ cause: PlacementCause,
        from host: HostID? = nil,
        to member: Member,
        reason: String
    ) -> PlacementDecision {
        decisions += 1
        return PlacementDecision(
            operation: "\(cause.rawValue)-\(decisions)",
            cause: cause,
            from: host,
            destination: member.route,
            endedTerms: endedTerms,
            reason: reason
        )
    }
}

/// How much the slicer does at once.
package struct SlicerPolicy: Codable, Sendable, Equatable {
    /// Between rounds, in milliseconds.
    package var roundMilliseconds = 10_000
    /// Planned moves at the same time, in all.
    package var movesAtOnce = 4
    /// Planned moves at the same time that one host gives or takes.
    package var movesPerHost = 2
    /// The part of everything that one round may plan to move.
    package var budgetShare = 0.02
    /// The least that one round may plan to move, however small the cluster.
    package var budgetApps = 5
    package var budgetBytes = 1_000_000_000
    /// The part of the hash space that one round may give to other hosts; apps are counted by the limits above.
    package var budgetKeyShare = 0.25
    /// Above so many unavailable apps, planned moves wait.
    package var unavailableFloor = 2
    package var unavailableShare = 0.02
    /// After a failed move, at least so long until the next; doubled with every failure, to ten minutes.
    package var retryMilliseconds = 5000
    /// A lost host is forgotten after this.
    package var forgetSeconds = 24 * 3600

    package init() {}
}

/// Why an app is given to a host.
package enum PlacementCause: String, Codable, Sendable {
    case first, balance, drain, requested, failover

    /// Whether the app is served meanwhile, so that the move can wait.
    package var isPlanned: Bool {
        switch self {
        case .balance, .drain, .requested: true
        case .first, .failover: false
        }
    }
}

/// What the slicer tells an app: the input of its signal `assign`.
package struct PlacementDecision: Codable, Sendable, Equatable {
    package var operation: String
    package var cause: PlacementCause
    /// Where the slicer believes the app to be.
    package var from: HostID?
    package var destination: RouteHost
    package var endedTerms: [String: Int]
    /// What a person reads.
    package var reason: String
}

/// What the slicer wants done.
package enum SlicerAction: Sendable, Equatable {
    /// Tell an app where it belongs.
    case assign(ApplicationID, PlacementDecision)
    /// Tell an app that a host's lease is over.
    case ended(ApplicationID, EndedLease)
    /// Tell a host's workflow that the host is empty.
    case drained(HostID)
    /// Tell a host's workflow that the host is given work again.
    case undrained(HostID)
}

/// A lease that is over: its holder has surely stopped.
package struct EndedLease: Codable, Sendable, Equatable {
    package var host: HostID
    package var term: Int
}
