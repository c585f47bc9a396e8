/// One line of the stream of an operation (`application/x-ndjson`): its record as often as it changes, or an error that
/// ends it.
public enum OperationLine: Codable, Sendable {
    case operation(OperationRecord)
    case error(MartletError)

    private enum Key: String, CodingKey {
        case operation, error
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        if let record = try container.decodeIfPresent(OperationRecord.self, forKey: .operation) {
            self = .operation(record)
        } else {
            self = .error(try container.decode(Problem.self, forKey: .error).error)
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        switch self {
        case .operation(let record): try container.encode(record, forKey: .operation)
        case .error(let error): try container.encode(Problem(error), forKey: .error)
        }
    }
}
