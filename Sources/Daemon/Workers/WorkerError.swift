/// Why a worker did not get so far.
package enum WorkerError: Error, Sendable, CustomStringConvertible {
    case notReady(after: Duration, output: String)
    case ended(ProcessEnd, output: String)
    case failed(WorkerMessage.StartFailure)
    case hangs(after: Duration)

    package var description: String {
        switch self {
        case .notReady(let time, let output):
            "the worker was not ready in \(time.milliseconds) ms" + Self.quoted(output)
        case .ended(let end, let output): "the worker \(end) before it was ready" + Self.quoted(output)
        case .failed(let failure): failure.summary
        case .hangs(let time):
            "it was not ready in \(time.milliseconds / 1000) s: the script's top level has not finished; "
                + "do long work in fetch, or in ctx.waitUntil"
        }
    }

    private static func quoted(_ output: String) -> String {
        output.isEmpty ? "; it wrote nothing" : ": " + output
    }
}
