package import Control
package import struct Foundation.Date

import Slicer

extension SlicerState {
    /// Takes what hosts report, and gives slices to other hosts where that helps.
    ///
    /// `reports`: of the hosts that answered; without any it still takes slices off lost and draining hosts.
    package mutating func round(_ reports: [HostReport], now: Date) throws {
        take(reports)
        hosts.removeAll { member in
            member.state == .lost && slices?.hosts.contains(member.id) != true
                && now.timeIntervalSince(member.since) > Double(policy.forgetSeconds)
                && !apps.values.contains { $0.host == member.id }
        }
        guard let slices, hosts.contains(where: { $0.state == .online || $0.state == .draining }) else {
            return
        }
        let assignment = try slices.assignment()
        let loads = try LoadMap(
            apps.keys.sorted().compactMap { app in
                apps[app].map { LoadMap.Cell(Slice(Key(RouteTable.key(of: app))), $0.weight) }
            }
        )
        let round = Assigner(policy: .standard).round(
            Situation(
                assignment: assignment,
                hosts: hosts.map(\.status),
                loads: loads,
                budget: budget(of: loads.total),
                pinned: keys { $0.pinnedTo != nil },
                inTransit: keys { $0.transit != nil && $0.transit?.cause != .failover }
            )
        )
        maxToMean = round.maxToMeanAfter
        hotKeys = round.hotKeys.map(\.key.value)
        for host in round.hosts {
            guard let id = HostID(host.host.name) else { continue }
            update(id) { $0.load = host.weight.load }
        }
        if round.isChange { self.slices = try SliceRecord(round.assignment) }
    }

    /// Begins what has to be done for apps that are not where they belong.
    ///
    /// To be called after every change; it begins nothing twice.
    package mutating func reconcile(now: Date) throws -> [SlicerAction] {
        guard let slices else { return [] }
        let assignment = try slices.assignment()
        var actions: [SlicerAction] = []
        for app in asking.sorted() {
            if let action = place(app, by: assignment, now: now) { actions.append(action) }
        }
        var planned: [(app: ApplicationID, to: Member, isDraining: Bool)] = []
        for app in apps.keys.sorted() {
            guard let residence = apps[app], residence.epoch > 0 || residence.transit == nil else { continue }
            let source = member(residence.host)
            if source == nil || source?.state == .lost || source?.state == .left {
                if let action = failOver(app, residence, by: assignment, now: now) { actions.append(action) }
                continue
            }
            guard residence.transit == nil, let owner = owner(of: app, by: assignment),
                owner.id != residence.host, owner.state == .online,
                residence.notBefore.map({ $0 <= now }) ?? true
            else { continue }
            planned.append((app, owner, source?.state == .draining))
        }
        if !refusesPlannedMoves {
            let order = planned.filter(\.isDraining) + planned.filter { !$0.isDraining }
            for move in order where plannedMoves < policy.movesAtOnce {
                guard var residence = apps[move.app], movesOf(residence.host) < policy.movesPerHost,
                    movesOf(move.to.id) < policy.movesPerHost
                else { continue }
                let cause: PlacementCause = move.isDraining ? .drain : .balance
                let reason = move.isDraining ? "\(residence.host) is draining" : "to spread the load"
                let decision = decision(cause, from: residence.host, to: move.to, reason: reason)
                residence.transit = Transit(
                    to: move.to.id,
                    cause: cause,
                    since: now,
                    operation: decision.operation
                )
                apps[move.app] = residence
                actions.append(.assign(move.app, decision))
            }
        }
        actions += finishDrains(now: now)
        return actions
    }

    // MARK: - Parts

    private mutating func take(_ reports: [HostReport]) {
        for report in reports {
            let interval = max(1, report.intervalMilliseconds)
            for load in report.apps {
                learn(load.app, on: report.host, epoch: load.epoch)
                guard var residence = apps[load.app], residence.host == report.host else { continue }
                // Half of what was, so that one busy second moves nothing.
                residence.load = (residence.load + load.cpuMicroseconds * 1000 / interval) / 2
                residence.bytes = load.databaseBytes
                residence.isAwake = load.isAwake
                apps[load.app] = residence
            }
        }
    }

    private func budget(of total: Weight) -> Budget {
        guard !refusesPlannedMoves else { return Budget(apps: 0, bytes: 0, keyShare: 0) }
        var budget = Budget.share(
            policy.budgetShare,
            of: total,
            floor: Weight(load: 0, apps: policy.budgetApps, bytes: policy.budgetBytes)
        )
        // What earlier rounds planned and is still under way counts.
        budget.apps = max(0, budget.apps - plannedMoves)
        budget.keyShare = policy.budgetKeyShare
        return budget
    }

    private func keys(_ condition: (Residence) -> Bool) -> [Slice] {
        apps.filter { condition($0.value) }.keys.map { RouteTable.key(of: $0) }.sorted()
            .map { Slice(Key($0)) }
    }

    private func movesOf(_ host: HostID) -> Int {
        apps.values.count {
            $0.transit?.cause.isPlanned == true && ($0.host == host || $0.transit?.to == host)
        }
    }

    func owner(of app: ApplicationID, by assignment: Assignment) -> Member? {
        HostID(assignment.owner(of: Key(RouteTable.key(of: app))).name).flatMap { member($0) }
    }

    private mutating func place(
        _ app: ApplicationID,
        by assignment: Assignment,
        now: Date
    ) -> SlicerAction? {
        if let residence = apps[app], residence.epoch > 0, let member = member(residence.host),
            member.state == .online || member.state == .draining
        {
            asking.remove(app)
            return .assign(app, decision(.first, to: member, reason: "it is there already"))
        }
        let owner = owner(of: app, by: assignment)
        guard
            let host = owner?.state == .online
                ? owner : online.min(by: { ($0.load, $0.id) < ($1.load, $1.id) })
        else { return nil }
        asking.remove(app)
        let decision = decision(.first, to: host, reason: "its slice is there")
        var residence = Residence(host: host.id, epoch: apps[app]?.epoch ?? 0)
        residence.transit = Transit(to: host.id, cause: .first, since: now, operation: decision.operation)
        apps[app] = residence
        return .assign(app, decision)
    }

    private mutating func failOver(
        _ app: ApplicationID,
        _ residence: Residence,
        by assignment: Assignment,
        now: Date
    ) -> SlicerAction? {
        if let transit = residence.transit, transit.cause == .failover, let to = member(transit.to),
            to.state == .online || to.state == .draining
        {
            return nil
        }
        let owner = owner(of: app, by: assignment)
        let candidate =
            owner?.state == .online || owner?.state == .draining
            ? owner : online.min { ($0.load, $0.id) < ($1.load, $1.id) }
        guard let host = candidate, host.id != residence.transit?.to || residence.transit?.cause != .failover
        else { return nil }
        var residence = residence
        let decision = decision(
            .failover,
            from: residence.host,
            to: host,
            reason: "\(residence.host) is lost"
        )
        residence.transit = Transit(to: host.id, cause: .failover, since: now, operation: decision.operation)
        if residence.pinnedTo == residence.host { residence.pinnedTo = nil }
        apps[app] = residence
        return .assign(app, decision)
    }
}

extension SlicerState.Residence {
    /// What it would cost to move the app, and what that would take off its host.
    var weight: Weight {
        Weight(load: max(0, load), apps: isAwake ? 1 : 0, bytes: max(0, bytes))
    }
}
