/// One line of a deployment's stream (`application/x-ndjson`): events, and at the end the result or an error.
public enum DeploymentLine: Codable, Sendable {
    case event(DeploymentEvent)
    case deployment(Deployment)
    case error(MartletError)

    private enum Key: String, CodingKey {
        case event, deployment, error
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        if let event = try container.decodeIfPresent(DeploymentEvent.self, forKey: .event) {
            self = .event(event)
        } else if let deployment = try container.decodeIfPresent(Deployment.self, forKey: .deployment) {
            self = .deployment(deployment)
        } else {
            let problem = try container.decode(Problem.self, forKey: .error)
            self = .error(problem.error)
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        switch self {
        case .event(let event): try container.encode(event, forKey: .event)
        case .deployment(let deployment): try container.encode(deployment, forKey: .deployment)
        case .error(let error): try container.encode(Problem(error), forKey: .error)
        }
    }
}
