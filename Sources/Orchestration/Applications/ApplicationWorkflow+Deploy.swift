import ClusterContract
import Control
import Foundation
import Temporal

extension ApplicationWorkflow {
    func deploy(_ request: DeployRequest, id: String) async throws -> OperationResult {
        let version = ApplicationMemory.Version(
            id: request.version,
            artifactBytes: request.artifactBytes,
            createdAt: context.now
        )
        let previous = state.version
        let record = OperationRecord(
            id: id,
            kind: .deploy,
            to: state.placement?.host.id,
            version: request.version,
            startedAt: context.now
        )
        do {
            return try await recorded(record) {
                if state.owner == nil { state.owner = request.owner }
                var warnings: [String] = []
                if let placement = state.placement {
                    warnings = try await replace(version, on: placement, id: id, checks: true)
                } else {
                    try await placeFirst(version, id: id)
                }
                state.use(version, now: context.now)
                return OperationResult(
                    operation: record,
                    previousVersion: previous,
                    warnings: warnings
                )
            }
        } catch {
            // A first deployment that failed leaves no app behind.
            if previous == nil {
                state.owner = nil
                await tellSlicer(SlicerWorkflow.gone, state.app)
            }
            throw error
        }
    }

    func rollback(_ request: RollbackRequest, id: String) async throws -> OperationResult {
        let previous = state.version
        let version = try state.earlier(request.version)
        let record = OperationRecord(
            id: id,
            kind: .rollback,
            to: state.placement?.host.id,
            version: version.id,
            startedAt: context.now
        )
        return try await recorded(record) {
            guard let placement = state.placement else {
                throw MartletError(.unavailable, "\(state.app) is on no host now; try again in a moment")
            }
            _ = try await replace(version, on: placement, id: id, checks: false)
            state.version = version.id
            state.deployedAt = context.now
            return OperationResult(operation: record, previousVersion: previous)
        }
    }

    func configure(_ request: ConfigureRequest, id: String) async throws -> OperationResult {
        let record = OperationRecord(
            id: id,
            kind: .configure,
            to: state.placement?.host.id,
            startedAt: context.now
        )
        return try await recorded(record) {
            var variables = state.environment.filter { variable in
                !request.removed.contains(variable.name)
                    && !request.set.contains { $0.name == variable.name }
            }
            variables += request.set
            variables.sort { $0.name < $1.name }
            if let placement = state.placement {
                let order = ConfigureOrder(app: state.app, number: state.nextOrder(), environment: variables)
                _ = try await self.order(
                    HostActivities.configure,
                    on: placement.host.id,
                    of: id,
                    takes: timing.short,
                    order
                )
            }
            state.environment = variables
            return OperationResult(operation: record)
        }
    }

    func delete(id: String) async throws -> OperationResult {
        let record = OperationRecord(
            id: id,
            kind: .delete,
            from: state.placement?.host.id,
            startedAt: context.now
        )
        return try await recorded(record) {
            if let placement = state.placement {
                let order = RemoveOrder(app: state.app, number: state.nextOrder(), keepsReplica: false)
                _ = try await self.order(
                    HostActivities.remove,
                    on: placement.host.id,
                    of: id,
                    takes: timing.long,
                    order
                ) { StepSummary(bytes: $0.bytes) }
            }
            state.isDeleted = true
            state.placement = nil
            state.version = nil
            await tellSlicer(SlicerWorkflow.gone, state.app)
            return OperationResult(operation: record)
        }
    }

    // MARK: - Parts

    /// Brings a version to where the app is, and takes it into use beside the one that serves.
    private func replace(
        _ version: ApplicationMemory.Version,
        on placement: ApplicationMemory.Placement,
        id: String,
        checks: Bool
    ) async throws -> [String] {
        let host = placement.host.id
        let specification = state.specification(version)
        try await prepare(specification, on: host, id: id)
        let warnings = checks ? try await check(specification, on: host, id: id) : []
        let report = try await order(
            HostActivities.start,
            on: host,
            of: id,
            takes: timing.short,
            StartOrder(specification: specification, number: state.nextOrder(), epoch: placement.epoch)
        )
        if report.hasOld {
            // The new version serves: whatever becomes of the old one, the deployment has worked.
            _ = try? await order(
                HostActivities.retire,
                on: host,
                of: id,
                takes: timing.short + timing.drain + 60_000,
                RetireOrder(app: state.app, number: state.nextOrder())
            )
        }
        return warnings
    }

    private func placeFirst(_ version: ApplicationMemory.Version, id: String) async throws {
        decision = nil
        await tellSlicer(SlicerWorkflow.ask, state.app)
        let isAnswered = try await waitUntil(timeout: .milliseconds(timing.assignment)) { $0.decision != nil }
        guard isAnswered, let decision else {
            throw MartletError(
                .unavailable,
                "no host is online to take \(state.app); `martlet hosts` lists them, `martlet host` starts one"
            )
        }
        let host = decision.destination
        state.update(id) { $0.to = host.id }
        do { try await placeFirst(version, on: host, id: id) } catch {
            // The host may have taken it although its answer was lost.
            await abandon(on: host.id, id: id)
            throw error
        }
    }

    /// The first start is the check too: nothing serves yet that the version could harm.
    private func placeFirst(
        _ version: ApplicationMemory.Version,
        on host: RouteHost,
        id: String
    ) async throws {
        let specification = state.specification(version)
        try await prepare(specification, on: host.id, id: id)
        let report = try await order(
            HostActivities.adopt,
            on: host.id,
            of: id,
            takes: timing.long,
            AdoptOrder(
                specification: specification,
                number: state.nextOrder(),
                epoch: 1,
                fromEpoch: nil,
                cause: .first,
                endedTerms: state.endedTerms,
                isAwake: true
            ),
            summary: Self.summary
        )
        place(on: host, epoch: report.epoch)
        await tellPlaced(isAwake: true)
    }

    func prepare(_ specification: ApplicationSpecification, on host: HostID, id: String) async throws {
        _ = try await order(
            HostActivities.prepare,
            on: host,
            of: id,
            takes: timing.long,
            PrepareOrder(specification: specification, number: state.nextOrder())
        ) { StepSummary(bytes: $0.bytes) }
    }

    private func check(
        _ specification: ApplicationSpecification,
        on host: HostID,
        id: String
    ) async throws -> [String] {
        try await order(
            HostActivities.check,
            on: host,
            of: id,
            takes: timing.short,
            CheckOrder(specification: specification, number: state.nextOrder())
        ).warnings
    }

    static func summary(_ report: AdoptReport) -> StepSummary {
        StepSummary(
            bytes: report.bytes,
            message: "epoch \(report.epoch): claim \(report.claimMilliseconds) ms, restore "
                + "\(report.restoreMilliseconds) ms, start \(report.startMilliseconds) ms"
        )
    }
}
