package import Foundation
import SwiftProtobuf
package import TemporalAPI

/// The names of markers that official SDKs write too: the first two are Core's, the third is Go's.
enum MarkerName {
    static let localActivity = "core_local_activity"
    static let patch = "core_patch"
    static let sideEffect = "SideEffect"
}

/// What Core records of a patch, under `patch-data`.
struct PatchMarkerData: Codable {
    var id: String
    var deprecated: Bool
}

/// What Core records of a local activity, under `data`.
struct LocalActivityMarkerData: Codable, Sendable {
    struct Instant: Codable, Sendable {
        var seconds: Int64
        var nanos: Int32

        init(_ date: Date) {
            let time = Google_Protobuf_Timestamp(date: date)
            seconds = time.seconds
            nanos = time.nanos
        }

        var date: Date { Google_Protobuf_Timestamp(seconds: seconds, nanos: nanos).date }
    }

    struct Span: Codable, Sendable {
        var seconds: Int64
        var nanos: Int32
    }

    var seq: UInt32
    var attempt: UInt32
    var activityID: String
    var activityType: String
    var completeTime: Instant?
    var backoff: Span?
    var originalScheduleTime: Instant?

    enum CodingKeys: String, CodingKey {
        case seq, attempt, backoff
        case activityID = "activity_id"
        case activityType = "activity_type"
        case completeTime = "complete_time"
        case originalScheduleTime = "original_schedule_time"
    }
}

extension WorkflowMachine {
    /// What the events after a replayed task's completion say it did.
    struct Lookahead: Sendable {
        struct LocalActivity: Sendable {
            var data: LocalActivityMarkerData
            var resolution: Resolution
        }

        var patches: Set<String> = []
        var localActivities: [LocalActivity] = []
        var sideEffects: [Int: APIPayloads] = [:]

        mutating func add(_ marker: APIMarkerRecordedEventAttributes) {
            let (name, details) = (marker.markerName, marker.details)
            if let data = PatchMarkerData(name, details) {
                patches.insert(data.id)
            } else if let data = LocalActivityMarkerData(name, details) {
                let failure = marker.hasFailure ? marker.failure : nil
                let resolution = Resolution(data, result: details["result"], failure: failure)
                localActivities.append(LocalActivity(data: data, resolution: resolution))
            } else if name == MarkerName.sideEffect, let id: Int = details.value("side-effect-id") {
                sideEffects[id] = details["data"]
            }
        }
    }

    /// Whether the code after a change is to run; recorded once for each identifier.
    package mutating func patched(_ id: String, deprecated: Bool) -> Bool {
        if let known = patches[id] { return known }
        let isPatched = !isReplaying || lookahead.patches.contains(id)
        patches[id] = isPatched
        guard isPatched || deprecated else { return false }
        let data = PatchMarkerData(id: id, deprecated: deprecated)
        send(.marker(MarkerName.patch, ["patch-data": .json(data)]), isOptional: deprecated)
        guard !deprecated else { return isPatched }
        patchOrder.append(id)
        var index = APIPayloads.json(patchOrder)
        // The server's limit for one search attribute.
        guard let size = index.payloads.first?.data.count, size < 2048 else { return isPatched }
        index.payloads[0].metadata["type"] = Data("KeywordList".utf8)
        upsertSearchAttributes(
            .with { $0.indexedFields = ["TemporalChangeVersion": index.payloads[0]] },
            isOptional: true
        )
        return isPatched
    }

    /// The number of the next side effect, and what it came to when history knows.
    package mutating func nextSideEffect() -> (number: Int, recorded: APIPayloads?) {
        counters.sideEffect += 1
        return (counters.sideEffect, isReplaying ? lookahead.sideEffects[counters.sideEffect] : nil)
    }

    package mutating func recordSideEffect(_ number: Int, _ value: APIPayloads) {
        send(.marker(MarkerName.sideEffect, ["side-effect-id": .json(number), "data": value]))
    }

    /// Records how a local activity ended.
    ///
    /// - Returns: What the workflow is told; nil when it no longer waits.
    package mutating func resolveLocalActivity(
        _ request: LocalActivityRequest,
        attempt: Int,
        completed: Date,
        outcome: Result<APIPayloads, LocalFailure>
    ) -> Resolution? {
        guard operations.removeValue(forKey: request.operation) != nil else { return nil }
        localActivities[request.number] = nil
        recordedLocalActivities[request.number] = request.type
        var data = LocalActivityMarkerData(
            seq: request.number,
            attempt: UInt32(attempt),
            activityID: request.activityID,
            activityType: request.type,
            completeTime: .init(completed),
            originalScheduleTime: .init(request.originalSchedule)
        )
        var details: [String: APIPayloads] = [:]
        var failure: APIFailure?
        switch outcome {
        case .success(let result): details["result"] = result
        case .failure(let local):
            failure = local.failure
            if let backoff = local.backoff {
                let span = Google_Protobuf_Duration(rounding: backoff)
                data.backoff = .init(seconds: span.seconds, nanos: span.nanos)
            }
        }
        details["data"] = .json(data)
        send(.marker(MarkerName.localActivity, details, failure), isOptional: true)
        advance(to: completed)
        return Resolution(data, result: details["result"], failure: failure)
    }

    /// Why a local activity failed; with a backoff when it is to be tried again.
    package struct LocalFailure: Error {
        package var failure: APIFailure
        package var backoff: Duration?

        package init(failure: APIFailure, backoff: Duration? = nil) {
            self.failure = failure
            self.backoff = backoff
        }
    }
}

extension PatchMarkerData {
    init?(_ marker: String, _ details: [String: APIPayloads]) {
        guard marker == MarkerName.patch, let data: Self = details.value("patch-data") else { return nil }
        self = data
    }
}

extension LocalActivityMarkerData {
    init?(_ marker: String, _ details: [String: APIPayloads]) {
        guard marker == MarkerName.localActivity, let data: Self = details.value("data") else { return nil }
        self = data
    }
}

extension WorkflowMachine.Resolution {
    fileprivate init(_ data: LocalActivityMarkerData, result: APIPayloads?, failure: APIFailure?) {
        if let backoff = data.backoff {
            self = .retryLater(
                delay: .seconds(backoff.seconds) + .nanoseconds(Int64(backoff.nanos)),
                attempt: Int(data.attempt) + 1,
                scheduled: data.originalScheduleTime?.date ?? Date(timeIntervalSince1970: 0)
            )
        } else if let failure {
            let activity = WorkflowMachine.Activity(
                id: data.activityID,
                type: data.activityType,
                cancellation: .tryCancel
            )
            self = .failed(
                activity.failure(
                    cause: failure,
                    retryState: failure.hasCanceledFailureInfo ? .cancelRequested : .maximumAttemptsReached
                )
            )
        } else {
            self = .completed(result ?? APIPayloads())
        }
    }
}

extension APIFailure {
    var hasCanceledFailureInfo: Bool {
        if case .canceledFailureInfo? = failureInfo { true } else { false }
    }
}

extension APICommand.OneOf_Attributes {
    fileprivate static func marker(
        _ name: String,
        _ details: [String: APIPayloads],
        _ failure: APIFailure? = nil
    ) -> Self {
        .recordMarkerCommandAttributes(
            .with {
                $0.markerName = name
                $0.details = details
                if let failure { $0.failure = failure }
            }
        )
    }
}

extension [String: APIPayloads] {
    fileprivate func value<Decoded: Decodable>(_ key: String) -> Decoded? {
        // A marker that is not what its name says is no marker of ours.
        self[key]?.payloads.first.flatMap { try? JSONDecoder().decode(Decoded.self, from: $0.data) }
    }
}

extension APIPayloads {
    /// JSON as Core writes it: outside any converter or codec.
    fileprivate static func json(_ value: some Encodable) -> APIPayloads {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        // Encoding such small values of known types does not fail.
        let data = (try? encoder.encode(value)) ?? Data()
        return APIPayloads([
            .with {
                $0.metadata = ["encoding": Data("json/plain".utf8)]
                $0.data = data
            }
        ])
    }
}
