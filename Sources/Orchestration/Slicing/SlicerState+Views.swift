package import Control

import Slicer

extension SlicerState {
    /// The routes as they are now, numbered with ``generation``; nil before the first host.
    package func routes() throws -> RouteTable? {
        guard let slices else { return nil }
        let assignment = try slices.assignment()
        // Hosts that own nothing any more are no place to send a request to.
        let members = hosts.filter { member in
            switch member.state {
            case .online, .draining, .drained: true
            case .lost, .left: slices.hosts.contains(member.id)
            }
        }
        let index = Dictionary(uniqueKeysWithValues: members.enumerated().map { ($0.element.id, $0.offset) })
        let owners = try slices.hosts.map { host in
            guard let number = index[host] else {
                throw MartletError(.internal, "make routes: \(host) owns slices and is unknown")
            }
            return number
        }
        var exceptions: [ApplicationID: RouteException] = [:]
        for (app, residence) in apps where residence.epoch > 0 {
            let isFailover = residence.transit?.cause == .failover
            let host = isFailover ? residence.transit?.to ?? residence.host : residence.host
            let owner = assignment.owner(of: Key(RouteTable.key(of: app))).name
            guard isFailover || host.rawValue != owner, index[host] != nil else { continue }
            exceptions[app] = RouteException(app: app, host: host, epoch: residence.epoch)
        }
        return try RouteTable(
            generation: generation,
            hosts: members.map(\.route),
            starts: assignment.starts,
            owners: slices.slices.owners.map { owners[$0] },
            exceptions: exceptions
        )
    }

    /// Numbers the routes anew when they differ from `earlier`.
    package mutating func renumber(from earlier: RouteTable?) throws -> RouteTable? {
        guard let table = try routes() else { return nil }
        if let earlier, earlier == table { return earlier }
        generation += 1
        return try routes()
    }

    package func hostSummaries() throws -> [HostSummary] {
        let assignment = try slices?.assignment()
        return hosts.map { member in
            let own = assignment?.slices(of: Slicer.HostID(member.id.rawValue)) ?? []
            let here = apps.values.filter { $0.host == member.id }
            return HostSummary(
                id: member.id,
                state: member.state,
                peer: member.registration.peer,
                ingress: member.registration.ingress,
                api: member.registration.api,
                capacity: member.registration.capacity,
                load: member.load,
                apps: here.count,
                moving: apps.values.count {
                    $0.transit != nil && ($0.host == member.id || $0.transit?.to == member.id)
                },
                slices: own.count,
                share: own.reduce(0) { $0 + $1.share },
                databaseBytes: here.reduce(0) { $0 + $1.bytes },
                taskQueue: ClusterNames.queue(of: member.id),
                since: member.since
            )
        }
    }

    package func assignmentSummary() throws -> AssignmentSummary {
        let assignment = try slices?.assignment()
        let table = try routes()
        let hot = Set(hotKeys)
        return AssignmentSummary(
            generation: generation,
            assignment: Int(slices?.generation ?? 0),
            slices: try assignment?.placements.map {
                SliceSummary(
                    first: $0.slice.first.description,
                    last: $0.slice.last.description,
                    host: try HostID(validating: $0.host.name)
                )
            } ?? [],
            exceptions: table?.exceptions.values.sorted { $0.app < $1.app } ?? [],
            maxToMean: maxToMean,
            hotApps: apps.keys.filter { hot.contains(RouteTable.key(of: $0)) }.map(\.rawValue).sorted()
        )
    }

    package func residences() -> [ApplicationResidence] {
        apps.keys.sorted().compactMap { app in
            apps[app].map {
                ApplicationResidence(app: app, host: $0.host, epoch: $0.epoch, destination: $0.transit?.to)
            }
        }
    }
}
