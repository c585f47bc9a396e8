package import Control
import Foundation
import Synchronization
import Temporal

extension ClusterService: ClusterAdministration {
    package func hosts() async throws -> [HostSummary] {
        try await asked("list the hosts") { try await slicer.query(SlicerWorkflow.hosts) }
    }

    package func slices() async throws -> AssignmentSummary {
        try await asked("list the slices") { try await slicer.query(SlicerWorkflow.slices) }
    }

    func residences() async throws -> [ApplicationID: ApplicationResidence] {
        let all = try await asked("list the apps") { try await slicer.query(SlicerWorkflow.residences) }
        return Dictionary(all.map { ($0.app, $0) }) { $1 }
    }

    package func move(
        _ app: ApplicationID,
        to host: HostID,
        onChange: @escaping @Sendable (OperationRecord) async -> Void
    ) async throws -> OperationRecord {
        _ = try await state(of: app)
        let decision = try await asked("move \(app) to \(host)") {
            try await slicer.update(SlicerWorkflow.relocate, input: Relocation(app: app, to: host))
        }
        let last = Mutex<OperationRecord?>(nil)
        return try await asked("move \(app) to \(host)", app: app) {
            // An operation is in the list as soon as its turn comes; before that the app does something else.
            try await follow(decision.operation, of: app) {
                while true {
                    if let record = last.withLock({ $0 }), record.state != .running { return record }
                    try await Task.sleep(for: .milliseconds(20))
                }
            } onChange: { record in
                await onChange(record)
                last.withLock { $0 = record }
            }
        }
    }

    package func drain(_ host: HostID) async throws {
        _ = try await asked("drain \(host)") { try await slicer.update(SlicerWorkflow.drain, input: host) }
    }

    package func undrain(_ host: HostID) async throws {
        _ = try await asked("undrain \(host)") {
            try await slicer.update(SlicerWorkflow.undrain, input: host)
        }
    }

    package func operations(of app: ApplicationID) async throws -> [OperationRecord] {
        try await state(of: app).operations
    }
}
