/// What can be done with a cluster beside its apps; the API calls it where there is one.
///
/// Every method throws ``MartletError``.
public protocol ClusterAdministration: Sendable {
    func hosts() async throws -> [HostSummary]
    func slices() async throws -> AssignmentSummary

    /// Moves an app and keeps it there; reports every change of the operation.
    ///
    /// - Returns: the operation when it has ended.
    /// - Throws: ``MartletError``: `not_found` without such an app or host, `conflict` where it is there already, is on
    ///   its way, or too many apps are unavailable for planned moves.
    func move(
        _ app: ApplicationID,
        to host: HostID,
        onChange: @escaping @Sendable (OperationRecord) async -> Void
    ) async throws -> OperationRecord

    /// Begins to empty a host; ``hosts()`` shows how far it is.
    func drain(_ host: HostID) async throws
    /// Gives a draining host work again.
    func undrain(_ host: HostID) async throws

    /// What was done with an app of late, newest first.
    func operations(of app: ApplicationID) async throws -> [OperationRecord]
}
