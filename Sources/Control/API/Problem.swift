/// An error as the API sends it: `application/problem+json` (RFC 9457) with the error's code beside it.
public struct Problem: Codable, Sendable, Equatable {
    public var title: String
    public var status: Int
    public var code: MartletError.Code
    /// The message that a person reads.
    public var detail: String

    public init(_ error: MartletError) {
        title = error.code.title
        status = error.code.httpStatus
        code = error.code
        detail = error.message
    }

    public var error: MartletError { MartletError(code, detail) }
}

extension MartletError.Code {
    /// The status of HTTP (RFC 9110, and 507 of RFC 4918) that tells this kind of failure.
    public var httpStatus: Int {
        switch self {
        case .badRequest: 400
        case .unauthorized: 401
        case .quotaExceeded: 403
        case .notFound: 404
        case .nameTaken, .conflict, .staleOrder, .ownedElsewhere: 409
        case .tooLarge: 413
        case .invalidArchive, .invalidSettings, .checkFailed: 422
        case .internal, .dataDamaged: 500
        case .unavailable, .cancelled: 503
        case .timeout: 504
        case .diskFull: 507
        }
    }

    var title: String {
        switch self {
        case .badRequest: "The request cannot be understood"
        case .unauthorized: "A token is needed"
        case .notFound: "Not found"
        case .nameTaken: "The name is taken"
        case .conflict: "The request does not fit the present state"
        case .staleOrder: "The order is out of date"
        case .ownedElsewhere: "Another host owns the app"
        case .invalidArchive: "The archive cannot be used"
        case .invalidSettings: "martlet.json has a mistake"
        case .checkFailed: "The app does not start"
        case .tooLarge: "Too large"
        case .quotaExceeded: "Over the quota"
        case .diskFull: "The disk is full"
        case .dataDamaged: "Stored data is damaged"
        case .unavailable: "Not available at the moment"
        case .timeout: "It took too long"
        case .cancelled: "Cancelled"
        case .internal: "A fault in Martlet"
        }
    }
}
