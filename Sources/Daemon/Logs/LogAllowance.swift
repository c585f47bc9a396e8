/// Decides how much an app may log: a sustained rate with bursts.
///
/// What is beyond is dropped and counted.
package struct LogAllowance: Sendable {
    package let bytesPerSecond: Int
    package let burstBytes: Int
    private var available: Double
    private var refilledAt: Uptime
    private var dropped = 0

    package init(bytesPerSecond: Int = 256 * 1024, burstBytes: Int = 1 << 20, now: Uptime) {
        self.bytesPerSecond = bytesPerSecond
        self.burstBytes = burstBytes
        available = Double(burstBytes)
        refilledAt = now
    }

    package enum Decision: Sendable, Equatable {
        /// The line may be written; before it, that this many were dropped.
        case write(droppedBefore: Int)
        case drop
    }

    package mutating func take(_ bytes: Int, now: Uptime) -> Decision {
        let elapsed = (now - refilledAt) / .seconds(1)
        if elapsed > 0 {
            available = min(Double(burstBytes), available + elapsed * Double(bytesPerSecond))
            refilledAt = now
        }
        // After a drop some room must have come back first, so that the log is not a line here and a line there.
        let needed = dropped > 0 ? max(Double(bytes), Double(burstBytes) / 8) : Double(bytes)
        guard available >= needed else {
            dropped += 1
            return .drop
        }
        available -= Double(bytes)
        defer { dropped = 0 }
        return .write(droppedBefore: dropped)
    }
}
