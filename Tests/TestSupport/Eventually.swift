/// Waits until something is so.
///
/// A minute is generous, because other things run on the machine.
///
/// - Throws: ``NotInTime``, and what `condition` throws.
package func eventually(
    _ what: String,
    within limit: Duration = .seconds(60),
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    var pause = Duration.milliseconds(5)
    while try await !condition() {
        guard ContinuousClock.now < deadline else { throw NotInTime(what: what, limit: limit) }
        try await Task.sleep(for: pause)
        pause = min(pause * 2, .milliseconds(100))
    }
}

/// What a test waited for and did not come.
package struct NotInTime: Error, CustomStringConvertible {
    package var what: String
    package var limit: Duration

    package var description: String { "not within \(limit): \(what)" }
}
