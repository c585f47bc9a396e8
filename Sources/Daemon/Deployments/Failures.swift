import Archive
import Control
import GRDB

extension MartletError {
    /// The error as people are to see it, whatever part of the host it comes from.
    init(_ error: any Error, while attempt: String) {
        switch error {
        case let error as MartletError: self = error
        case let error as ArchiveError:
            let code: Code =
                switch error.code {
                case .malformed, .unsafe: .invalidArchive
                case .tooLarge: .tooLarge
                case .diskFull: .diskFull
                case .file: .internal
                }
            self.init(code, error.message, cause: error)
        case let error as SystemError:
            self.init(
                error.isDiskFull ? .diskFull : .internal,
                "\(attempt): \(error)"
                    + (error.isDiskFull ? "; make room on the host's disk and try again" : ""),
                cause: error
            )
        case let error as DatabaseError:
            let isFull = error.resultCode == .SQLITE_FULL
            self.init(
                isFull ? .diskFull : .internal,
                "\(attempt): the host's state could not be written"
                    + (isFull ? ": its disk is full; make room" : ""),
                cause: error
            )
        case is CancellationError: self.init(.cancelled, "\(attempt): the host is stopping; try again later")
        default: self.init(.internal, "\(attempt): \(error)", cause: error)
        }
    }
}
