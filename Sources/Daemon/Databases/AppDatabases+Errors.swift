import Control
import Replication
import Storage

extension AppDatabases {
    /// The error as people are to see it.
    static func shown(_ error: any Error, _ attempt: String) -> MartletError {
        switch error {
        case let error as ReplicationError:
            let code: MartletError.Code =
                switch error.code {
                case .unavailable: .unavailable
                case .superseded: .conflict
                case .noReplica: .notFound
                case .damaged: .dataDamaged
                case .full: .diskFull
                case .invalid: .badRequest
                case .failed: .internal
                }
            return MartletError(code, "\(attempt): \(error.message)", cause: error)
        case let error as StorageError:
            let code: MartletError.Code =
                switch error.code {
                case .denied, .conditionFailed: .conflict
                case .unavailable: .unavailable
                case .full: .diskFull
                case .corrupt: .dataDamaged
                case .invalid: .badRequest
                case .notFound, .unexpected: .internal
                }
            return MartletError(code, "\(attempt): \(error.message)", cause: error)
        default: return MartletError(error, while: attempt)
        }
    }
}
