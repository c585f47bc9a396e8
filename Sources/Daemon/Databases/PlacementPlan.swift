import Storage

/// Decides where the data of an app comes from when this host is to run it.
///
/// ```
///   owner.json           note beside the data      what to do
///   this host, epoch N   epoch N, and data         go on with N
///   this host, epoch N   epoch N, N+1 is ordered   take N+1 with the data that is here
///   nobody               any                       take epoch 1 with the data that is here, if any
///   anything else                                  take the next epoch and restore
/// ```
enum PlacementPlan: Equatable {
    /// The data is here and the epoch is ours: it needs the present term of the lease.
    case goOn(epoch: Int)
    /// The data is here, under `epoch`, and goes on under the next.
    case takeNext(keeping: Int)
    /// Nobody has had the app under this store: what is here is all there is.
    case begin
    /// The data comes from the newest epoch up to `newest`, unless the order names one.
    case restore(newest: Int)

    static func decide(
        owner: OwnerRecord?,
        local: LocalPlacement?,
        hasData: Bool,
        holder: String,
        store: String,
        orderedEpoch: Int?
    ) -> PlacementPlan {
        guard let owner else { return .begin }
        let isCurrent =
            owner.holder == holder && hasData && local?.epoch == owner.epoch && local?.store == store
        guard isCurrent else { return .restore(newest: owner.epoch) }
        if let orderedEpoch, orderedEpoch > owner.epoch { return .takeNext(keeping: owner.epoch) }
        return .goOn(epoch: owner.epoch)
    }
}
