/// What workflows ask of a host; each method is one activity of the same name on the host's task queue.
///
/// Every order may arrive more than once, also after it was carried out, and must then lead to the same state and an
/// equal report. Orders about an app carry a number that grows with every order that the app's workflow gives; a host
/// that has seen a higher number for the app refuses with `stale_order` and changes nothing. So an order that was
/// delayed, while the workflow has long decided otherwise, does no harm.
///
/// Methods throw ``MartletError``: `unavailable` and `timeout` are tried again, everything else goes to the workflow,
/// which takes back what it did. Where the refusal is about who owns an app (`stale_order`, `owned_elsewhere`), the
/// error's ``MartletError/cause`` is an ``OrderRefusal``.
public protocol HostOrders: Sendable {
    /// Makes sure that the host has the version, so that a start needs neither the store nor the network for it.
    func prepare(_ order: PrepareOrder) async throws -> PrepareReport
    /// Starts the version once beside what runs, on a copy of the data, and ends it.
    func check(_ order: CheckOrder) async throws -> CheckReport
    /// Makes a copy of the app's databases from the replica and goes on following it, until ``adopt(_:)`` or
    /// ``abandon(_:)``; returns when it has caught up once.
    func follow(_ order: FollowOrder) async throws -> FollowReport
    /// Holds new requests, lets running ones finish, closes the app's databases, syncs the last changes and gives the
    /// epoch up in the store.
    func quiesce(_ order: QuiesceOrder) async throws -> QuiesceReport
    /// Claims the next epoch, gets the databases, and serves.
    func adopt(_ order: AdoptOrder) async throws -> AdoptReport
    /// Sends held and new requests to the app's new host; local data is kept until ``remove(_:)``.
    func handOver(_ order: HandOverOrder) async throws -> HandOverReport
    /// Gives the app to another host without anybody else in between: ``quiesce(_:)``, then ``adopt(_:)`` there, then
    /// ``handOver(_:)``.
    ///
    /// When the other host refuses or does not answer, this one goes on as by ``resume(_:)`` and throws. What it then knows
    /// may be wrong by the time it is heard: ``resume(_:)`` tells who has the app.
    func cutOver(_ order: CutOverOrder) async throws -> CutOverReport
    /// After ``quiesce(_:)``, when the move cannot go on: claims the next epoch and serves with the data that is here.
    ///
    /// A host that serves the app, because it never stopped or has taken it back by itself, changes nothing and reports
    /// its epoch. Where another host has claimed the app in the meantime, it refuses with `owned_elsewhere`.
    func resume(_ order: ResumeOrder) async throws -> AdoptReport
    /// Forgets what ``prepare(_:)`` and ``follow(_:)`` made for an app that will not come.
    func abandon(_ order: AbandonOrder) async throws
    /// Takes an app that is not (any longer) this host's off it: worker, files, log; with its replica if so ordered.
    func remove(_ order: RemoveOrder) async throws -> RemoveReport

    /// Starts a version beside the one that serves, and sends it the requests from then on.
    func start(_ order: StartOrder) async throws -> StartReport
    /// Waits until workers of older versions have finished and are gone.
    func retire(_ order: RetireOrder) async throws
    /// Sets the app's variables; they apply at the next start of a worker.
    func configure(_ order: ConfigureOrder) async throws

    /// Takes a change of the routes; a host that does not have what the change is based on gets the whole table by
    /// itself (query `table` of the workflow `slicer`).
    func publish(_ order: PublishOrder) async throws -> PublishReport
    /// What the host does and has.
    func status(_ order: StatusOrder) async throws -> HostReport

    /// Holds the host's session: gives signs of life until it is cancelled or the host leaves.
    ///
    /// `beat`: passes a sign of life on to Temporal; to be called every second.
    ///
    /// - Throws: ``MartletError`` with code `stale_order` when the host has been started anew since.
    func session(_ order: SessionOrder, beat: @escaping @Sendable (SessionBeat) -> Void) async throws
}

/// Who owns an app, as the host that refuses an order knows it.
public struct OrderRefusal: Error, Codable, Sendable, Equatable {
    /// The highest epoch that the host or the store knows of.
    public var epoch: Int
    /// Who holds it.
    public var holder: HostID?
    /// The highest number of an order that the host has seen for the app.
    public var number: Int?

    public init(epoch: Int, holder: HostID?, number: Int? = nil) {
        self.epoch = epoch
        self.holder = holder
        self.number = number
    }
}

/// An order about an app.
public protocol ApplicationOrder: Codable, Sendable {
    var app: ApplicationID { get }
    /// Grows with every order that the app's workflow gives to whatever host; equal in repeats of one order.
    var number: Int { get }
}
