package import Control
package import struct Foundation.Date

/// What an app's workflow remembers, as a value.
package struct ApplicationMemory: Codable, Sendable, Equatable {
    package var app: ApplicationID
    package var owner: UserID?
    package var createdAt: Date
    package var deployedAt: Date?
    /// The version that serves.
    package var version: VersionID?
    /// Newest first, the one that serves included.
    package var versions: [Version] = []
    package var environment: [SealedVariable] = []
    package var placement: Placement?
    /// The number of the last order that was given to whatever host.
    ///
    /// It begins with the time in milliseconds: an app that is deleted and deployed anew has higher numbers than before.
    package var orders: Int
    /// Newest first.
    package var operations: [OperationRecord] = []
    /// Terms of leases that are known to be over, by host.
    package var endedTerms: [String: Int] = [:]
    package var isDeleted = false

    /// Operations that are remembered.
    static let keptOperations = 20
    /// Versions that one can go back to, besides the one that serves.
    static let keptVersions = 10

    package init(app: ApplicationID, createdAt: Date) {
        self.app = app
        self.createdAt = createdAt
        orders = Int(createdAt.timeIntervalSince1970 * 1000)
    }

    /// A version of the app, as it is kept in the store.
    package struct Version: Codable, Sendable, Equatable {
        package var id: VersionID
        package var artifactBytes: Int
        package var createdAt: Date
    }

    /// Where the app is.
    package struct Placement: Codable, Sendable, Equatable {
        package var host: RouteHost
        package var epoch: Int
        package var since: Date
    }

    /// A number for the next order, higher than all before.
    mutating func nextOrder() -> Int {
        orders += 1
        return orders
    }

    mutating func begin(_ operation: OperationRecord) {
        operations.insert(operation, at: 0)
        if operations.count > Self.keptOperations { operations.removeLast() }
    }

    /// Changes the operation of that name in place; one that is forgotten stays so.
    mutating func update(_ operation: String, _ change: (inout OperationRecord) -> Void) {
        guard let index = operations.firstIndex(where: { $0.id == operation }) else { return }
        change(&operations[index])
    }

    mutating func beginStep(_ name: String, of operation: String, on host: HostID?, now: Date) {
        update(operation) { $0.steps.append(OperationRecord.Step(name: name, host: host, startedAt: now)) }
    }

    mutating func endStep(
        of operation: String,
        now: Date,
        state: OperationRecord.State,
        bytes: Int? = nil,
        milliseconds: Int? = nil,
        message: String? = nil
    ) {
        update(operation) { record in
            guard let index = record.steps.indices.last else { return }
            record.steps[index].state = state
            record.steps[index].bytes = bytes
            record.steps[index].message = message
            record.steps[index].milliseconds =
                milliseconds ?? Int((now.timeIntervalSince(record.steps[index].startedAt) * 1000).rounded())
        }
    }

    mutating func end(_ operation: String, _ state: OperationRecord.State, error: MartletError?, now: Date) {
        update(operation) { record in
            record.state = state
            record.error = error.map { MartletFailure($0) }
            record.finishedAt = now
        }
    }

    /// Takes a version into the list, as the one that serves.
    mutating func use(_ version: Version, now: Date) {
        versions.removeAll { $0.id == version.id }
        versions.insert(version, at: 0)
        if versions.count > Self.keptVersions + 1 { versions.removeLast() }
        self.version = version.id
        deployedAt = now
    }

    /// The version to go back to.
    ///
    /// - Throws: ``MartletError`` with code `not_found`.
    func earlier(_ asked: VersionID?) throws(MartletError) -> Version {
        if let asked {
            guard let found = versions.first(where: { $0.id == asked }) else {
                throw MartletError(
                    .notFound,
                    "\(app) has no version \(asked.short); `martlet versions \(app)` lists them"
                )
            }
            return found
        }
        guard let current = versions.firstIndex(where: { $0.id == version }),
            versions.indices.contains(current + 1)
        else { throw MartletError(.notFound, "\(app) has no earlier version to go back to") }
        return versions[current + 1]
    }

    func specification(_ version: Version) -> ApplicationSpecification {
        ApplicationSpecification(
            app: app,
            owner: owner ?? .local,
            version: version.id,
            artifactBytes: version.artifactBytes,
            environment: environment
        )
    }
}
