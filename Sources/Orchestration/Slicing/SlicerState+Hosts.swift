package import Control
package import struct Foundation.Date

import Slicer

extension SlicerState {
    /// A host has begun a session.
    package mutating func hostOnline(_ registration: HostRegistration, now: Date) throws {
        var kept = registration
        kept.residents = []
        if member(registration.host) != nil {
            update(registration.host) { member in
                // A new session of the same process: it is still empty, and about to be stopped.
                let isStillDrained =
                    member.state == .drained && member.registration.incarnation == registration.incarnation
                if member.state != .draining && member.state != .online && !isStillDrained {
                    member.state = .online
                    member.since = now
                }
                member.registration = kept
            }
        } else {
            hosts.append(Member(registration: kept, state: .online, since: now))
            hosts.sort { $0.id < $1.id }
        }
        for resident in registration.residents {
            learn(resident.app, on: registration.host, epoch: resident.epoch)
        }
        if apps.isEmpty || slices == nil {
            // Nobody has anything to lose yet, so everyone gets a fair share at once.
            let assigner = Assigner(policy: .standard)
            let first = try assigner.firstAssignment(hosts: online.map(\.status))
            let number = slices.map { Generation($0.generation).next } ?? .first
            slices = try SliceRecord(first.renumbered(number))
        }
    }

    /// A host's lease is over: it serves nothing any more.
    package mutating func hostLost(_ lease: EndedLease, now: Date) -> [SlicerAction] {
        guard let known = member(lease.host) else { return [] }
        // News of an earlier process; the present one has a later term.
        let isOld = known.registration.leaseTerm > lease.term
        update(lease.host) { member in
            member.endedTerm = max(member.endedTerm, lease.term)
            guard !isOld else { return }
            member.state = .lost
            member.since = now
        }
        return apps.keys.sorted()
            .filter { apps[$0]?.host == lease.host || apps[$0]?.transit?.to == lease.host }
            .map { .ended($0, lease) }
    }

    /// Begins to empty a host.
    ///
    /// - Throws: ``MartletError`` with code `not_found`, or `conflict` when no other host could take its apps.
    package mutating func drain(_ host: HostID, now: Date) throws(MartletError) {
        let member = try known(host)
        guard member.state == .online || member.state == .draining else {
            if member.state == .drained { return }
            throw MartletError(.conflict, "drain \(host): it is \(member.state.rawValue)")
        }
        guard online.contains(where: { $0.id != host }) else {
            throw MartletError(
                .conflict,
                "drain \(host): no other host is online to take its apps; start one, then drain"
            )
        }
        guard member.state == .online else { return }
        update(host) { member in
            member.state = .draining
            member.since = now
        }
    }

    /// Gives a draining or drained host work again.
    ///
    /// - Throws: ``MartletError`` with code `not_found` or `conflict`.
    @discardableResult
    package mutating func undrain(_ host: HostID, now: Date) throws(MartletError) -> [SlicerAction] {
        let member = try known(host)
        switch member.state {
        case .online: return []
        case .draining, .drained:
            update(host) { member in
                member.state = .online
                member.since = now
            }
            return [.undrained(host)]
        case .lost, .left:
            throw MartletError(
                .conflict,
                "undrain \(host): it is \(member.state.rawValue); start it, and it comes back by itself"
            )
        }
    }

    /// A host has ended its session on purpose, with nothing left on it.
    package mutating func hostLeft(_ host: HostID, now: Date) {
        guard let member = member(host), !apps.values.contains(where: { $0.host == host }) else { return }
        if let slices, slices.hosts.contains(host) {
            update(host) { changed in
                changed.state = .lost
                changed.since = now
                changed.endedTerm = max(changed.endedTerm, member.registration.leaseTerm)
            }
        } else {
            hosts.removeAll { $0.id == host }
        }
    }

    func known(_ host: HostID) throws(MartletError) -> Member {
        guard let member = member(host) else {
            throw MartletError(
                .notFound,
                "there is no host named \(host); `martlet hosts` lists those that there are"
            )
        }
        return member
    }

    /// Hosts that are empty after a drain.
    mutating func finishDrains(now: Date) -> [SlicerAction] {
        var actions: [SlicerAction] = []
        for member in hosts where member.state == .draining {
            let id = member.id
            let isUsed =
                slices?.hosts.contains(id) == true
                || apps.values.contains { $0.host == id || $0.transit?.to == id }
            guard !isUsed else { continue }
            update(id) { changed in
                changed.state = .drained
                changed.since = now
            }
            actions.append(.drained(id))
        }
        return actions
    }
}

extension SlicerState.Member {
    /// The member as the assigner sees it.
    var status: Slicer.HostStatus {
        let state: Slicer.HostState =
            switch state {
            case .online: .online
            case .draining: .draining
            case .drained, .lost, .left: .lost
            }
        return Slicer.HostStatus(
            Slicer.HostID(id.rawValue),
            capacity: registration.capacity,
            state: state
        )
    }
}
