public import Control

extension HostAgent: HostOrders {
    public func prepare(_ order: PrepareOrder) async throws -> PrepareReport {
        try await desk.perform(order) { [daemon] in try await daemon.prepare(order.specification) }
    }

    public func check(_ order: CheckOrder) async throws -> CheckReport {
        try await desk.perform(order) { [daemon] in try await daemon.check(order.specification) }
    }

    public func follow(_ order: FollowOrder) async throws -> FollowReport {
        try await desk.perform(order) { [daemon] in try await daemon.follow(order) }
    }

    public func quiesce(_ order: QuiesceOrder) async throws -> QuiesceReport {
        try await desk.perform(order) { [daemon] in try await daemon.quiesce(order) }
    }

    public func adopt(_ order: AdoptOrder) async throws -> AdoptReport {
        try await desk.perform(order) { [daemon] in try await daemon.adopt(order) }
    }

    public func handOver(_ order: HandOverOrder) async throws -> HandOverReport {
        try await desk.perform(order) { [daemon] in try await daemon.handOver(order) }
    }

    public func cutOver(_ order: CutOverOrder) async throws -> CutOverReport {
        try await desk.perform(order) { [daemon] in try await daemon.cutOver(order) }
    }

    public func resume(_ order: ResumeOrder) async throws -> AdoptReport {
        try await desk.perform(order) { [daemon] in try await daemon.resume(order) }
    }

    public func abandon(_ order: AbandonOrder) async throws {
        try await desk.perform(order) { [daemon] in try await daemon.abandon(order) }
    }

    public func remove(_ order: RemoveOrder) async throws -> RemoveReport {
        try await desk.perform(order) { [daemon] in try await daemon.remove(order) }
    }

    public func start(_ order: Control.StartOrder) async throws -> StartReport {
        try await desk.perform(order) { [daemon] in try await daemon.start(order) }
    }

    public func retire(_ order: RetireOrder) async throws {
        try await desk.perform(order) { [daemon] in
            try await daemon.drain(order.app)
            try await daemon.stop(order.app)
        }
    }

    public func configure(_ order: ConfigureOrder) async throws {
        try await desk.perform(order) { [daemon] in try await daemon.configure(order) }
    }

    public func publish(_ order: PublishOrder) async throws -> PublishReport {
        let generation = try await daemon.publish(order.change)
        guard generation < order.change.generation else { return PublishReport(generation: generation) }
        return PublishReport(generation: try await daemon.fetchPublishedRoutes())
    }

    /// Takes a whole table of routes into use, unless the host has a newer one.
    package func use(_ table: Control.RouteTable) async throws { try await daemon.publish(table) }

    public func status(_ order: StatusOrder) async throws -> HostReport {
        try await daemon.report(incarnation: incarnation)
    }

    public func session(
        _ order: SessionOrder,
        beat: @escaping @Sendable (SessionBeat) -> Void
    ) async throws {
        while true {
            beat(await daemon.beat())
            try await Task.sleep(for: .seconds(1))
        }
    }
}
