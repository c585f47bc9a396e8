/// Whether the platform works, as `/healthz` tells it.
public struct Health: Codable, Sendable, Equatable {
    public enum Status: String, Codable, Sendable {
        case ok
        /// It serves, but a part that it needs for changes does not work.
        case degraded
        /// It does not serve.
        case down
    }

    public struct Check: Codable, Sendable, Equatable {
        public var name: String
        public var status: Status
        public var message: String?

        public init(name: String, status: Status, message: String? = nil) {
            self.name = name
            self.status = status
            self.message = message
        }
    }

    public var status: Status
    public var checks: [Check]

    public init(checks: [Check]) {
        self.checks = checks
        status =
            checks.contains { $0.status == .down }
            ? .down : checks.contains { $0.status == .degraded } ? .degraded : .ok
    }
}
