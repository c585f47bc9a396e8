import Control

/// Sees to it that of the orders about an app none is carried out twice at a time, and none after a later one.
///
/// An order that comes again while it is carried out waits for the same end; one that comes again later is carried out
/// again, which its own code makes harmless. A later order ends an earlier one that is still under way.
actor OrderDesk {
    private struct Line {
        var number: Int
        var report: (any Sendable)?
        var running: Task<any Sendable, any Error>?
    }

    private let host: HostID
    private var lines: [ApplicationID: Line] = [:]

    init(host: HostID) { self.host = host }

    /// Carries an order out.
    ///
    /// - Throws: ``MartletError`` with code `stale_order` when the host has seen a later one.
    func perform<Report: Sendable>(
        _ order: some ApplicationOrder,
        _ body: @escaping @Sendable () async throws -> Report
    ) async throws -> Report {
        let app = order.app
        if let line = lines[app] {
            guard order.number >= line.number else {
                throw MartletError(
                    .staleOrder,
                    "host \(host) has seen order \(line.number) for \(app), and refuses \(order.number)",
                    cause: OrderRefusal(epoch: 0, holder: nil, number: line.number)
                )
            }
            if order.number == line.number {
                if let report = line.report as? Report { return report }
                if let running = line.running { return try await value(of: running, for: order) }
            } else if let running = line.running {
                running.cancel()
                _ = await running.result
                // Another may have come in the meantime.
                if lines[app]?.running != nil || lines[app].map({ $0.number > order.number }) == true {
                    return try await perform(order, body)
                }
            }
        }
        // Not a child task: the one who asked may give up and ask again, and finds it under way.
        let task = Task<any Sendable, any Error> { try await body() }
        lines[app] = Line(number: order.number, report: nil, running: task)
        let result = await task.result
        if lines[app]?.number == order.number {
            lines[app]?.running = nil
            if case .success(let report) = result { lines[app]?.report = report }
        }
        return try await value(of: task, for: order)
    }

    private func value<Report: Sendable>(
        of task: Task<any Sendable, any Error>,
        for order: some ApplicationOrder
    ) async throws -> Report {
        guard let report = try await task.value as? Report else {
            throw MartletError(
                .internal,
                "two different orders for \(order.app) have the number \(order.number)"
            )
        }
        return report
    }
}
