import FoundationEssentials
import Logging
import NIOCore
import Storage

extension LitestreamReplicator {
    /// The error with what is wrong with each file, and the newest state that was restored and found sound.
    func withLastGood(
        _ error: ReplicationError,
        objects: [LTXObject],
        replica: ReplicaLocation,
        scratch: String
    ) async -> ReplicationError {
        var problems: [String] = []
        var good: [LTXObject] = []
        do {
            for object in try await withTimes(objects) {
                if let problem = try await problem(of: object) {
                    problems.append("\(object.key): \(problem)")
                } else {
                    good.append(object)
                }
            }
        } catch {
            problems.append("its files could not all be read: \(error)")
        }
        var limit = UInt64.max
        // Each round takes a state further back; a handful is enough, because sound files give sound states.
        for _ in 0..<8 {
            guard let last = RestorePlan(good, upTo: limit).last else { break }
            if let point = await proven(last, replica: replica, good: good, scratch: scratch) {
                let named = problems.isEmpty ? "" : " (\(problems.prefix(5).joined(separator: "; ")))"
                return ReplicationError(
                    .damaged,
                    "\(error.message)\(named); the last good state is \(point): restore at that time",
                    lastGood: point,
                    cause: error.cause
                )
            }
            guard last.maxTransaction > 1 else { break }
            limit = last.maxTransaction - 1
        }
        let named = problems.prefix(5).joined(separator: "; ")
        return ReplicationError(
            .damaged,
            "\(error.message); no sound state was found (\(named))",
            cause: error.cause
        )
    }

    /// What is wrong with a file; nil when it is sound.
    private func problem(of object: LTXObject) async throws -> String? {
        // Larger files are left to the restore that proves a state; checking them would hold them in memory.
        guard object.sizeBytes <= 64 << 20 else { return nil }
        do {
            let bytes = try await store.get(object.key).bytes(upTo: 64 << 20)
            return await Self.check(bytes)
        } catch let error as StorageError where error.code == .notFound {
            return "it is gone"
        } catch let error as StorageError where error.code == .corrupt {
            return error.message
        }
    }

    @concurrent private static func check(_ bytes: ByteBuffer) async -> String? {
        LTXFile.problem(Array(bytes.readableBytesView))
    }

    /// Restores a state to a scratch file and checks it; nil when that fails.
    private func proven(
        _ last: LTXObject,
        replica: ReplicaLocation,
        good: [LTXObject],
        scratch: String
    ) async -> RestorePoint? {
        let files = DatabaseFiles(path: scratch + ".proof")
        // Beside the database that was to be restored, whose next restore removes it.
        defer { try? files.removeAll() }
        do {
            try files.removeAll()
            let restored = try await restoreForProof(last.maxTransaction, replica: replica, to: files.path)
            return restored ? RestorePoint(transaction: last.maxTransaction, time: last.time) : nil
        } catch {
            logger.debug(
                "a state is not sound",
                metadata: ["transaction": "\(last.maxTransaction)", "error": "\(error)"]
            )
            return nil
        }
    }

    private func restoreForProof(
        _ transaction: UInt64,
        replica: ReplicaLocation,
        to path: String
    ) async throws -> Bool {
        _ = try await restore(replica, to: path, at: .transaction(transaction)) { _ in }
        return true
    }
}
