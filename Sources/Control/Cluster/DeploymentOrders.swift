/// Has a host try a version.
public struct CheckOrder: ApplicationOrder {
    public var specification: ApplicationSpecification
    public var number: Int
    public var app: ApplicationID { specification.app }

    public init(specification: ApplicationSpecification, number: Int) {
        self.specification = specification
        self.number = number
    }
}

/// What ``HostOrders/check(_:)`` found.
public struct CheckReport: Codable, Sendable, Equatable {
    public var milliseconds: Int
    /// What the person should know though the version starts.
    public var warnings: [String]

    public init(milliseconds: Int, warnings: [String] = []) {
        self.milliseconds = milliseconds
        self.warnings = warnings
    }
}

/// Takes a version into use on the host that has the app.
public struct StartOrder: ApplicationOrder {
    public var specification: ApplicationSpecification
    public var number: Int
    /// The epoch under which the host has the app.
    public var epoch: Int
    public var app: ApplicationID { specification.app }

    public init(specification: ApplicationSpecification, number: Int, epoch: Int) {
        self.specification = specification
        self.number = number
        self.epoch = epoch
    }
}

/// How ``HostOrders/start(_:)`` went.
public struct StartReport: Codable, Sendable, Equatable {
    public var milliseconds: Int
    /// Whether a worker of the version before is left, which ``HostOrders/retire(_:)`` waits for.
    public var hasOld: Bool

    public init(milliseconds: Int, hasOld: Bool) {
        self.milliseconds = milliseconds
        self.hasOld = hasOld
    }
}

/// Waits for the end of older versions.
public struct RetireOrder: ApplicationOrder {
    public var app: ApplicationID
    public var number: Int

    public init(app: ApplicationID, number: Int) {
        self.app = app
        self.number = number
    }
}

/// Sets an app's variables.
public struct ConfigureOrder: ApplicationOrder {
    public var app: ApplicationID
    public var number: Int
    /// All of them.
    public var environment: [SealedVariable]

    public init(app: ApplicationID, number: Int, environment: [SealedVariable]) {
        self.app = app
        self.number = number
        self.environment = environment
    }
}
