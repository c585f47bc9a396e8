package import Control
package import struct Foundation.Date

import Slicer

extension SlicerState {
    /// A new app wants a host; ``reconcile(now:)`` answers.
    package mutating func ask(_ app: ApplicationID) {
        asking.insert(app)
    }

    /// An app is served by a host.
    package mutating func placed(_ app: ApplicationID, on host: HostID, epoch: Int, isAwake: Bool) {
        asking.remove(app)
        var residence = apps[app] ?? Residence(host: host, epoch: epoch)
        guard epoch >= residence.epoch else { return }
        residence.host = host
        residence.epoch = epoch
        residence.transit = nil
        residence.failures = 0
        residence.notBefore = nil
        residence.isAwake = isAwake
        apps[app] = residence
    }

    /// A move did not take place; the app is served where it was.
    package mutating func stayed(_ app: ApplicationID, on host: HostID, epoch: Int, now: Date) throws {
        guard var residence = apps[app], epoch >= residence.epoch else { return }
        let isRequest = residence.transit?.cause == .requested
        residence.host = host
        residence.epoch = epoch
        residence.transit = nil
        residence.failures += 1
        let pause = Double(policy.retryMilliseconds) / 1000 * pow2(min(residence.failures - 1, 10))
        residence.notBefore = now.addingTimeInterval(min(pause, 600))
        if isRequest {
            // The person is told, and may ask again; nothing goes on behind their back.
            residence.pinnedTo = nil
        }
        apps[app] = residence
        if isRequest, let slices {
            let assignment = try slices.assignment()
            let back = assignment.placing(
                Slice(Key(RouteTable.key(of: app))),
                on: Slicer.HostID(host.rawValue)
            )
            self.slices = try SliceRecord(back)
        }
    }

    /// An app is no more.
    package mutating func gone(_ app: ApplicationID) {
        asking.remove(app)
        apps[app] = nil
    }

    /// A person wants an app on a host.
    ///
    /// - Throws: ``MartletError``: `not_found`, or `conflict` where it cannot be done now.
    package mutating func relocate(
        _ app: ApplicationID,
        to host: HostID,
        now: Date
    ) throws -> PlacementDecision {
        guard var residence = apps[app] else {
            throw MartletError(
                .notFound,
                "there is no app named \(app); `martlet apps` lists those that there are"
            )
        }
        let member = try known(host)
        guard member.state == .online else {
            throw MartletError(.conflict, "move \(app) to \(host): the host is \(member.state.rawValue)")
        }
        if let transit = residence.transit {
            throw MartletError(
                .conflict,
                "move \(app) to \(host): it is on its way to \(transit.to); see `martlet apps show \(app)`"
            )
        }
        guard residence.host != host else {
            throw MartletError(.conflict, "move \(app) to \(host): it is there already")
        }
        guard !refusesPlannedMoves else {
            throw MartletError(
                .unavailable,
                "move \(app) to \(host): \(unavailable) apps are unavailable, and no app is interrupted by plan until "
                    + "they are back; see `martlet hosts` and try again"
            )
        }
        guard let slices else { throw MartletError(.unavailable, "no host has ever been online") }
        let assignment = try slices.assignment()
        let key = Slice(Key(RouteTable.key(of: app)))
        self.slices = try SliceRecord(assignment.placing(key, on: Slicer.HostID(host.rawValue)))
        let decision = decision(.requested, from: residence.host, to: member, reason: "asked for")
        residence.pinnedTo = host
        residence.notBefore = nil
        residence.transit = Transit(
            to: host,
            cause: .requested,
            since: now,
            operation: decision.operation
        )
        apps[app] = residence
        return decision
    }

    /// What a host says that it has.
    mutating func learn(_ app: ApplicationID, on host: HostID, epoch: Int) {
        guard var residence = apps[app] else {
            apps[app] = Residence(host: host, epoch: epoch)
            return
        }
        guard epoch > residence.epoch, residence.transit == nil else { return }
        residence.host = host
        residence.epoch = epoch
        apps[app] = residence
    }

    private func pow2(_ exponent: Int) -> Double { Double(1 << max(0, exponent)) }
}
