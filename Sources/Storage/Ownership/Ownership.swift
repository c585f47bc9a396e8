/// Who owns a thing that only one may write: under which epoch, and under which lease.
package struct OwnerRecord: Codable, Sendable, Hashable {
    /// Grows by one with every claim.
    package var epoch: Int
    package var holder: String
    /// The term of the holder's lease under which it was claimed.
    package var term: Int
    /// Set when the owner has written its last and gave the thing up; the next may then claim without waiting.
    package var isReleased: Bool
    /// A random text of the claim, which tells it from all others.
    package var claim: String

    package init(epoch: Int, holder: String, term: Int, isReleased: Bool, claim: String) {
        self.epoch = epoch
        self.holder = holder
        self.term = term
        self.isReleased = isReleased
        self.claim = claim
    }
}

/// Claims on `apps/<app>/owner.json`, by conditional writes only: each claim takes the next epoch.
package struct Ownership: Sendable {
    package let app: String
    private let record: StoredRecord<OwnerRecord>
    private let store: any ObjectStore

    package init(app: String, store: any ObjectStore) throws {
        self.app = app
        self.store = store
        record = StoredRecord(key: try ObjectKey("apps/\(app)/owner.json"), store: store)
    }

    /// An epoch that was claimed.
    package struct Claim: Sendable {
        package let record: OwnerRecord
        let etag: ETag

        package var epoch: Int { record.epoch }
    }

    /// The owner now; nil when the app never had one.
    package func current() async throws -> OwnerRecord? { try await record.read()?.value }

    /// Takes the next epoch for the holder of `lease`.
    ///
    /// Allowed when nobody owns the app, when its owner released it, when it is this holder's own, or when the lease
    /// under which it is owned is over: revoked and waited out (`Lease.revoke`).
    ///
    /// `ended`: leases, by holder, whose terms up to the given one were revoked and waited out.
    /// - Throws: `denied` when a living owner has it, naming it; `conditionFailed` when another claim came first.
    package func claim<LeaseClock>(
        under lease: Lease<LeaseClock>,
        ended: [String: Int] = [:],
        claim identifier: String
    ) async throws -> Claim {
        let previous = try await record.read()
        if let owner = previous?.value { try refuseUnlessFree(owner, for: lease.holder, ended: ended) }
        try lease.check()
        let value = OwnerRecord(
            epoch: (previous?.value.epoch ?? 0) + 1,
            holder: lease.holder,
            term: lease.term,
            isReleased: false,
            claim: identifier
        )
        do {
            let version = try await record.write(value, replacing: previous?.etag)
            return Claim(record: value, etag: version.etag)
        } catch let error as StorageError where error.code == .conditionFailed {
            throw StorageError(
                .conditionFailed,
                "claim epoch \(value.epoch) of \(app) for \(lease.holder): another claim came first",
                cause: error
            )
        }
    }

    /// Goes on with an epoch that the holder of `lease` has already, under the term that the lease has now.
    ///
    /// For a holder that was started again and has everything that it wrote under the epoch. It fails once another has
    /// claimed the next one, and a claim of another that was under way fails once this has succeeded.
    ///
    /// - Throws: `denied` when the newest epoch is not this one or not the holder's; `conditionFailed` when another
    ///   claim came first.
    package func renew<LeaseClock>(
        epoch: Int,
        under lease: Lease<LeaseClock>,
        claim identifier: String
    ) async throws -> Claim {
        guard let previous = try await record.read(), previous.value.epoch == epoch,
            previous.value.holder == lease.holder
        else {
            throw StorageError(
                .denied,
                "go on with epoch \(epoch) of \(app) for \(lease.holder): it is not the newest"
            )
        }
        try lease.check()
        var value = previous.value
        value.term = lease.term
        value.isReleased = false
        value.claim = identifier
        let version = try await record.write(value, replacing: previous.etag)
        return Claim(record: value, etag: version.etag)
    }

    /// Says that the owner has written its last under this claim.
    ///
    /// - Throws: `conditionFailed` when a later claim was made: what this owner wrote since then is not the app's.
    package func release(_ claim: Claim) async throws {
        var value = claim.record
        value.isReleased = true
        _ = try await record.write(value, replacing: claim.etag)
    }

    /// Throws unless the claim is still the newest, as the store has it.
    ///
    /// - Throws: `denied`, naming the owner there is.
    package func verify(_ claim: Claim) async throws {
        guard let owner = try await current(), owner != claim.record else { return }
        throw StorageError(
            .denied,
            "act as owner of \(app) at epoch \(claim.epoch): \(owner.holder) has epoch \(owner.epoch)"
        )
    }

    private func refuseUnlessFree(_ owner: OwnerRecord, for holder: String, ended: [String: Int]) throws {
        if owner.isReleased || owner.holder == holder { return }
        if let term = ended[owner.holder], owner.term <= term { return }
        throw StorageError(
            .denied,
            "claim \(app) for \(holder): \(owner.holder) owns it at epoch \(owner.epoch) under term \(owner.term) of its "
                + "lease; revoke that lease and wait, or let it release the app"
        )
    }
}
