import Control
import Foundation
import ServiceLifecycle
import Synchronization
import Tracing

/// Runs deployments apart from the connections that ask for them: a client that goes away does not leave a deployment
/// half done.
final class DeploymentRunner: Service {
    typealias Job = @Sendable (@escaping @Sendable (DeploymentEvent) async -> Void) async throws -> Deployment

    private struct Order: Sendable {
        let job: Job
        /// What asked for it, for traces.
        let context: ServiceContext
        let lines: AsyncStream<DeploymentLine>.Continuation
        let cleanUp: @Sendable () -> Void
    }

    private let limit: Int
    private let running = Mutex(0)
    private let orders: AsyncStream<Order>
    private let queue: AsyncStream<Order>.Continuation

    init(limit: Int) {
        self.limit = limit
        (orders, queue) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(limit))
    }

    /// Runs orders until the service is shut down; those that still run then are cancelled and waited for.
    func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                for await order in self.orders {
                    group.addTask { await self.perform(order) }
                }
                group.cancelAll()
            }
        }
        queue.finish()
    }

    /// Takes a place for an upload and its deployment.
    ///
    /// - Throws: ``MartletError`` with code `unavailable` when all places are taken.
    func reserve() throws(MartletError) -> Reservation {
        let isFree = running.withLock { count in
            guard count < limit else { return false }
            count += 1
            return true
        }
        guard isFree else {
            throw MartletError(
                .unavailable,
                "\(limit) deployments are running already; try again in a moment"
            )
        }
        return Reservation(runner: self)
    }

    /// A place among the deployments that run at the same time.
    struct Reservation: Sendable {
        fileprivate let runner: DeploymentRunner

        /// Starts the job and gives its lines, the result or the error last.
        ///
        /// `cleanUp` runs at the end.
        func start(
            _ job: @escaping Job,
            cleanUp: @escaping @Sendable () -> Void
        ) -> AsyncStream<DeploymentLine> {
            // A client that reads slowly loses the oldest progress, never the end.
            let (lines, continuation) = AsyncStream<DeploymentLine>.makeStream(
                bufferingPolicy: .bufferingNewest(256)
            )
            let result = runner.queue.yield(
                Order(
                    job: job,
                    context: .current ?? .topLevel,
                    lines: continuation,
                    cleanUp: cleanUp
                )
            )
            if case .enqueued = result { return lines }
            continuation.yield(.error(MartletError(.unavailable, "the host is shutting down")))
            continuation.finish()
            cleanUp()
            release()
            return lines
        }

        /// Gives the place back without a deployment.
        func release() { runner.running.withLock { $0 -= 1 } }
    }

    private func perform(_ order: Order) async {
        defer {
            order.lines.finish()
            order.cleanUp()
            running.withLock { $0 -= 1 }
        }
        do {
            let lines = order.lines
            let deployment = try await ServiceContext.withValue(order.context) {
                try await order.job { event in lines.yield(.event(event)) }
            }
            lines.yield(.deployment(deployment))
        } catch let error as MartletError {
            order.lines.yield(.error(error))
        } catch is CancellationError {
            order.lines.yield(
                .error(MartletError(.cancelled, "the host was shut down during the deployment; deploy again"))
            )
        } catch {
            order.lines.yield(
                .error(
                    MartletError(.internal, "the deployment failed; the host's log says why", cause: error)
                )
            )
        }
    }
}
