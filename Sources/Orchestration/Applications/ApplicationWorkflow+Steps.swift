import ClusterContract
import Control
import Foundation
import Logging
import Temporal

extension ApplicationWorkflow {
    static let slicer = ClusterNames.slicer

    /// Gives an order to a host, as a step of an operation.
    ///
    /// - Throws: ``MartletError``.
    func order<Order: Sendable, Report: Sendable>(
        _ activity: ActivityDefinition<Order, Report>,
        on host: HostID,
        of operation: String,
        takes duration: Int,
        attempts: Int = 3,
        _ order: Order,
        summary: (Report) -> StepSummary = { _ in StepSummary() }
    ) async throws -> Report {
        state.beginStep(activity.name, of: operation, on: host, now: context.now)
        do {
            let report = try await context.activity(
                activity,
                order,
                options: ActivityOptions(
                    startToClose: .milliseconds(duration),
                    scheduleToStart: .milliseconds(timing.scheduleToStart),
                    heartbeat: .milliseconds(timing.heartbeat),
                    retryPolicy: RetryPolicy(
                        initialInterval: .milliseconds(200),
                        maximumInterval: .seconds(2),
                        maximumAttempts: attempts
                    ),
                    taskQueue: ClusterNames.queue(of: host),
                    summary: "\(operation): \(activity.name) \(state.app) on \(host)"
                )
            )
            let summary = summary(report)
            state.endStep(
                of: operation,
                now: context.now,
                state: .done,
                bytes: summary.bytes,
                message: summary.message
            )
            return report
        } catch {
            let shown = OrderFailure.error(from: error, while: "\(activity.name) \(state.app) on \(host)")
            state.endStep(of: operation, now: context.now, state: .failed, message: shown.message)
            throw shown
        }
    }

    /// Runs an operation and records how it ended.
    func recorded(
        _ operation: OperationRecord,
        onFailure state: OperationRecord.State = .undone,
        _ body: () async throws -> OperationResult
    ) async throws -> OperationResult {
        self.state.begin(operation)
        do {
            var result = try await body()
            self.state.end(operation.id, .done, error: nil, now: context.now)
            result.operation = self.state.operations.first { $0.id == operation.id } ?? operation
            return result
        } catch {
            let shown = OrderFailure.error(from: error, while: "\(operation.kind.rawValue) \(self.state.app)")
            self.state.end(operation.id, state, error: shown, now: context.now)
            throw shown
        }
    }

    /// Tells the slicer something; it is always there, so this is tried until it is heard.
    func tellSlicer<Input: Sendable>(_ signal: SignalDefinition<Input>, _ input: Input) async {
        var pause = Duration.milliseconds(200)
        while true {
            do {
                try await context.workflow(id: Self.slicer).signal(signal, input)
                return
            } catch is CancellationError {
                return
            } catch {
                context.logger.warning("the slicer cannot be told", metadata: ["signal": "\(signal.name)"])
                // A cancelled wait ends the loop at the next attempt.
                try? await context.sleep(for: pause)
                pause = min(pause * 2, .seconds(30))
            }
        }
    }

    func tellPlaced(isAwake: Bool) async {
        guard let placement = state.placement else { return }
        let news = PlacementNews(
            app: state.app,
            host: placement.host.id,
            epoch: placement.epoch,
            isAwake: isAwake
        )
        await tellSlicer(SlicerWorkflow.placed, news)
    }

    func place(on host: RouteHost, epoch: Int) {
        state.placement = ApplicationMemory.Placement(host: host, epoch: epoch, since: context.now)
    }

    /// The version that serves.
    func current() throws -> ApplicationMemory.Version {
        guard let version = state.versions.first(where: { $0.id == state.version }) else {
            throw MartletError(.notFound, "\(state.app) has no version yet; `martlet deploy` brings one")
        }
        return version
    }
}

/// What a step's record says beside its time.
struct StepSummary {
    var bytes: Int?
    var message: String?
}
