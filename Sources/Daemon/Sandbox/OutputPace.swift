/// Decides how fast a process's output is read: a sustained rate with bursts.
///
/// Reading costs the reader CPU time, whatever becomes of the lines; while nobody reads, the writer waits once the pipe is full.
package struct OutputPace: Sendable {
    private let bytesPerSecond: Double
    private let burstBytes: Double
    private var debt = 0.0
    private var lookedAt: Uptime

    /// The shortest pause that is worth one.
    static let shortest = Duration.milliseconds(5)

    package init(bytesPerSecond: Int, burstBytes: Int = 1 << 20, now: Uptime) {
        self.bytesPerSecond = Double(bytesPerSecond)
        self.burstBytes = Double(burstBytes)
        lookedAt = now
    }

    /// Takes what was read.
    ///
    /// - Returns: how long to wait before the next read; nil to go on at once.
    package mutating func took(_ bytes: Int, now: Uptime) -> Duration? {
        debt = max(debt - bytesPerSecond * max((now - lookedAt) / .seconds(1), 0), 0) + Double(bytes)
        lookedAt = now
        guard debt > burstBytes else { return nil }
        let rest = Duration.seconds((debt - burstBytes) / bytesPerSecond)
        return rest >= Self.shortest ? rest : nil
    }
}
