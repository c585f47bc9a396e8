import Glibc
import NIOCore
import Storage
import Supervision

/// A warm copy kept by `litestream restore -f`.
final class LitestreamFollower: ReplicaFollower {
    private let replica: ReplicaLocation
    private let files: DatabaseFiles
    private let child: ChildProcess
    private let output: RecentLines

    init(_ replica: ReplicaLocation, to path: String, settings: LitestreamSettings) async throws {
        let files = DatabaseFiles(path: path)
        try await blocking {
            try FileSystem.makeFolders(files.folder)
            try files.removeAll()
        }
        let (seconds, attoseconds) = settings.followInterval.components
        let interval = "\(seconds * 1000 + attoseconds / 1_000_000_000_000_000)ms"
        let output = RecentLines()
        self.replica = replica
        self.files = files
        self.output = output
        child = try ChildProcess(
            .init(
                executable: settings.executable,
                arguments: [
                    "restore", "-f", "-follow-interval", interval, "-o", path, settings.url(of: replica),
                ],
                environment: settings.environment,
                folder: settings.workingFolder
            ),
            output: { output.add($0) }
        )
    }

    deinit { child.send(SIGKILL) }

    var position: ReplicaPosition? {
        get throws {
            if let status = child.status {
                throw ReplicationError(
                    .unavailable,
                    "follow \(replica): litestream restore -f ended with \(status): "
                        + output.all.suffix(3).joined(separator: " | ")
                )
            }
            return readPosition()
        }
    }

    func wait(for position: ReplicaPosition, timeout: Duration) async throws {
        let deadline = ContinuousClock.now + timeout
        while true {
            let reached = try self.position
            if let reached, reached >= position { return }
            guard ContinuousClock.now < deadline else {
                let found = reached.map { "\($0.transaction)" } ?? "no transaction"
                throw ReplicationError(
                    .unavailable,
                    "follow \(replica): at \(found) after \(timeout), wanted \(position.transaction)"
                )
            }
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    func finish() async throws -> ReplicaPosition {
        guard let reached = try position else {
            throw ReplicationError(.unavailable, "follow \(replica): the copy is not complete")
        }
        // Between looking at a transaction and ending, the follower may have taken more.
        let status = await child.stop(signal: SIGINT, grace: .seconds(10))
        let last = readPosition() ?? reached
        guard status.isSuccess else {
            throw ReplicationError(
                .failed,
                "follow \(replica): the follower ended with \(status); restore instead"
            )
        }
        let files = files
        try await blocking {
            try files.removeCompanions()
            try FileSystem.synchronizeFolder(of: files.path)
        }
        return last
    }

    func cancel() async {
        await child.stop(signal: SIGINT, grace: .seconds(2))
        let files = files
        // The next restore or follower to this path removes it.
        try? await blocking { try files.removeAll() }
    }

    private func readPosition() -> ReplicaPosition? {
        guard let file = try? OpenFile(files.followerPosition, flags: O_RDONLY),
            let text = try? file.read(upTo: 64)
        else { return nil }  // Not written yet.
        let digits = String(buffer: text).prefix { $0.isHexDigit }
        return UInt64(digits, radix: 16).map(ReplicaPosition.init)
    }
}

extension LitestreamReplicator {
    package func follow(_ replica: ReplicaLocation, to path: String) async throws -> any ReplicaFollower {
        do {
            return try await LitestreamFollower(replica, to: path, settings: settings)
        } catch {
            throw ReplicationError(.failed, "follow \(replica) to \(path)", cause: error)
        }
    }
}
