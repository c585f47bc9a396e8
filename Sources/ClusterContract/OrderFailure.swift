public import Control
import Temporal

/// Errors of Martlet on their way through Temporal and back.
public enum OrderFailure {
    /// An error as an activity or an update throws it: its type is the error's code, and it is tried again only where
    /// that can help.
    ///
    /// Cancellation and failures of Temporal pass as they are.
    public static func failure(from error: any Error) -> any Error {
        if error is CancellationError || error is any TemporalFailure { return error }
        guard let error = error as? MartletError else {
            return ApplicationFailure("\(error)", type: MartletError.Code.internal.rawValue)
        }
        return ApplicationFailure(
            error.message,
            type: error.code.rawValue,
            details: (error.cause as? OrderRefusal).map { [$0] } ?? [],
            nonRetryable: !isWorthRetrying(error.code)
        )
    }

    /// The error behind a failure.
    ///
    /// `action`: what was tried, for failures that are not an error of Martlet.
    public static func error(from failure: any Error, while action: String) -> MartletError {
        if let error = failure as? MartletError { return error }
        guard let failure = failure as? any TemporalFailure else {
            return failure is CancellationError
                ? MartletError(.cancelled, "\(action): cancelled", cause: failure)
                : MartletError(.internal, "\(action): \(failure)", cause: failure)
        }
        if let application = failure.first(ApplicationFailure.self),
            let code = MartletError.Code(rawValue: application.type)
        {
            // Details of another form than ours say nothing here.
            let refusal = try? application.details.decode(OrderRefusal.self)
            return MartletError(code, application.message, cause: refusal ?? failure)
        }
        if failure.first(TimeoutFailure.self) != nil {
            return MartletError(.timeout, "\(action): \(failure.rootCause.message)", cause: failure)
        }
        return MartletError(.internal, "\(action): \(failure)", cause: failure)
    }

    /// Whether an order that failed so may succeed when it is given once more.
    package static func isWorthRetrying(_ code: MartletError.Code) -> Bool {
        switch code {
        case .unavailable, .timeout, .internal: true
        default: false
        }
    }
}
