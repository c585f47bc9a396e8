package import Control
package import Foundation

/// What is asked of a placement; without values the host decides.
package struct PlacementOrder: Sendable, Equatable {
    /// The epoch that the placement must have.
    package var epoch: Int?
    /// The epoch whose replica the data comes from; without it the newest that has one.
    package var from: Int?
    /// The state to restore; without it the newest.
    package var time: Date?
    /// Terms of the leases of other hosts that were revoked and waited out, by host.
    package var ended: [String: Int]
    /// Another app whose data it begins with.
    package var source: ApplicationID?
    /// Somebody who knows of the whole cluster wants the app here.
    package var isOrdered: Bool

    package init(
        epoch: Int? = nil,
        from: Int? = nil,
        time: Date? = nil,
        ended: [String: Int] = [:],
        source: ApplicationID? = nil,
        isOrdered: Bool = false
    ) {
        self.source = source
        self.epoch = epoch
        self.from = from
        self.time = time
        self.ended = ended
        self.isOrdered = isOrdered
    }
}

/// What a placement did.
package struct PlacementReport: Sendable, Codable, Equatable {
    package var epoch: Int
    /// Databases that were restored, and their size.
    package var databases = 0
    package var bytes: Int64 = 0
    /// How long the claim in the store took, and how long getting the data did after it.
    package var claimTime = Duration.zero
    package var restoreTime = Duration.zero

    package init(
        epoch: Int,
        databases: Int = 0,
        bytes: Int64 = 0,
        claimTime: Duration = .zero,
        restoreTime: Duration = .zero
    ) {
        self.epoch = epoch
        self.databases = databases
        self.bytes = bytes
        self.claimTime = claimTime
        self.restoreTime = restoreTime
    }
}
