import ServiceLifecycle

/// Runs `produce` beside the caller and gives its elements, with nothing in between as a sign of life every `interval`.
///
/// The stream ends when `produce` returns, when its reader goes away, or when the host shuts down. A reader that falls
/// far behind loses the oldest elements.
func withHeartbeat<Element: Sendable>(
    every interval: Duration?,
    produce: @escaping @Sendable (AsyncStream<Element?>.Continuation) async -> Void
) -> AsyncStream<Element?> {
    let (elements, continuation) = AsyncStream<Element?>.makeStream(bufferingPolicy: .bufferingNewest(4096))
    // The stream outlives this call, and its end cancels the task, so no task group can hold it.
    let task = Task {
        await cancelWhenGracefulShutdown {
            await withTaskGroup { group in
                group.addTask { await produce(continuation) }
                if let interval {
                    group.addTask {
                        while !Task.isCancelled {
                            // Only cancellation ends the sleep early, and the loop sees that.
                            try? await Task.sleep(for: interval)
                            continuation.yield(nil)
                        }
                    }
                }
                await group.next()
                group.cancelAll()
            }
        }
        continuation.finish()
    }
    continuation.onTermination = { _ in task.cancel() }
    return elements
}
