import NIOCore

/// Runs Swift tasks on a connection's event loop.
///
/// Calls that such tasks make, and the answers that they wait for, need no other thread. What runs here must neither
/// wait nor take long: it would hold up all calls of the connection.
final class LoopExecutor: TaskExecutor {
    private let loop: any EventLoop

    init(_ loop: any EventLoop) { self.loop = loop }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
