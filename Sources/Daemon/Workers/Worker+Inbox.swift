import Synchronization

extension Worker {
    /// What the harness has said so far.
    final class Inbox: Sendable {
        let ready = Once<Result<String, WorkerError>>()
        let started = Once<Result<WorkerMessage.Started, WorkerError>>()

        private struct State {
            var activity = WorkerMessage.Activity()
            var onActivity: (@Sendable (WorkerMessage.Activity) -> Void)?
            /// Jobs that wait for their end, by the identifier of the order.
            var cron: [String: Once<WorkerMessage.CronDone>] = [:]
        }

        private let state = Mutex(State())

        var activity: WorkerMessage.Activity { state.withLock(\.activity) }

        func take(_ message: WorkerMessage) {
            switch message {
            case .ready(_, let deno): ready.set(.success(deno))
            case .started(let report): started.set(.success(report))
            case .failed(let failure): started.set(.failure(.failed(failure)))
            case .stopped: break
            case .cronDone(let done): state.withLock { $0.cron.removeValue(forKey: done.id) }?.set(done)
            case .activity(let activity):
                let body = state.withLock { state in
                    state.activity = activity
                    return state.onActivity
                }
                body?(activity)
            }
        }

        func expectCron(_ id: String) -> Once<WorkerMessage.CronDone> {
            let done = Once<WorkerMessage.CronDone>()
            state.withLock { $0.cron[id] = done }
            return done
        }

        func forgetCron(_ id: String) { state.withLock { $0.cron[id] = nil } }

        func onActivity(_ body: @escaping @Sendable (WorkerMessage.Activity) -> Void) {
            state.withLock { $0.onActivity = body }
        }
    }

    /// Where the worker's output goes: kept in short until an app is there, then to the app's log.
    final class Output: Sendable {
        private struct State {
            var sink: OutputSink?
            var tail: [String] = []
        }

        private let state = Mutex(State())
        private static let tailLines = 20

        func take(_ kind: ChildProcess.Output, _ line: ArraySlice<UInt8>) {
            let sink = state.withLock { state in
                // What the app writes with `console` is in the log; this is for the words of the runtime and the harness.
                if let words = OutputLine.wordsOfRuntime(line) {
                    state.tail.append(String(words.prefix(400)))
                    if state.tail.count > Self.tailLines { state.tail.removeFirst() }
                }
                return state.sink
            }
            sink?(kind, line)
        }

        func attach(_ sink: @escaping OutputSink) { state.withLock { $0.sink = sink } }

        func tail() -> String { state.withLock { $0.tail.joined(separator: "\n") } }
    }
}
