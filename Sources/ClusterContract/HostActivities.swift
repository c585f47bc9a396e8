public import Control
public import Temporal

/// The orders to hosts as activities: workflows call them, hosts register them.
public enum HostActivities {
    public static let prepare = ActivityDefinition<PrepareOrder, PrepareReport>("prepare")
    public static let check = ActivityDefinition<CheckOrder, CheckReport>("check")
    public static let follow = ActivityDefinition<FollowOrder, FollowReport>("follow")
    public static let quiesce = ActivityDefinition<QuiesceOrder, QuiesceReport>("quiesce")
    public static let adopt = ActivityDefinition<AdoptOrder, AdoptReport>("adopt")
    public static let handOver = ActivityDefinition<HandOverOrder, HandOverReport>("handOver")
    public static let cutOver = ActivityDefinition<CutOverOrder, CutOverReport>("cutOver")
    public static let resume = ActivityDefinition<ResumeOrder, AdoptReport>("resume")
    public static let abandon = ActivityDefinition<AbandonOrder, Nothing>("abandon")
    public static let remove = ActivityDefinition<RemoveOrder, RemoveReport>("remove")
    public static let start = ActivityDefinition<StartOrder, StartReport>("start")
    public static let retire = ActivityDefinition<RetireOrder, Nothing>("retire")
    public static let configure = ActivityDefinition<ConfigureOrder, Nothing>("configure")
    public static let publish = ActivityDefinition<PublishOrder, PublishReport>("publish")
    public static let status = ActivityDefinition<StatusOrder, HostReport>("status")
    public static let session = ActivityDefinition<SessionOrder, Nothing>("session")

    /// The activities of a host's worker, which listens on ``ClusterNames/queue(of:)``.
    ///
    /// Long ones give signs of life every second, so that a host that has died in the middle is noticed.
    public static func registrations(of orders: some HostOrders) -> [ActivityRegistration] {
        [
            registration(prepare) { try await orders.prepare($0) },
            registration(check) { try await orders.check($0) },
            registration(follow) { try await orders.follow($0) },
            registration(quiesce) { try await orders.quiesce($0) },
            registration(adopt) { try await orders.adopt($0) },
            registration(handOver) { try await orders.handOver($0) },
            registration(cutOver) { try await orders.cutOver($0) },
            registration(resume) { try await orders.resume($0) },
            registration(abandon) {
                try await orders.abandon($0)
                return Nothing()
            },
            registration(remove) { try await orders.remove($0) },
            registration(start) { try await orders.start($0) },
            registration(retire) {
                try await orders.retire($0)
                return Nothing()
            },
            registration(configure) {
                try await orders.configure($0)
                return Nothing()
            },
            registration(publish) { try await orders.publish($0) },
            registration(status) { try await orders.status($0) },
            ActivityRegistration(session) { context, order in
                do {
                    try await orders.session(order) { beat in
                        // A beat is a plain value; it cannot fail to be encoded.
                        try? context.heartbeat(beat)
                    }
                } catch {
                    throw OrderFailure.failure(from: error)
                }
                return Nothing()
            },
        ]
    }

    private static func registration<Order, Report>(
        _ definition: ActivityDefinition<Order, Report>,
        _ body: @escaping @Sendable (Order) async throws -> Report
    ) -> ActivityRegistration {
        ActivityRegistration(definition) { context, order in
            do {
                return try await withSignsOfLife(context) { try await body(order) }
            } catch {
                throw OrderFailure.failure(from: error)
            }
        }
    }

    private static func withSignsOfLife<Report: Sendable>(
        _ context: ActivityContext,
        _ body: @escaping @Sendable () async throws -> Report
    ) async throws -> Report {
        guard context.info.heartbeatTimeout != nil else { return try await body() }
        return try await withThrowingTaskGroup(of: Void.self, returning: Report.self) { group in
            group.addTask {
                while true {
                    context.heartbeat()
                    try await Task.sleep(for: .seconds(1))
                }
            }
            defer { group.cancelAll() }
            return try await body()
        }
    }
}
