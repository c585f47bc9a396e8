import Control
import Foundation
import Logging
import Synchronization

/// Reads certificates again when their files have changed; where they are not good, the earlier ones stay.
final class CertificateWatch: Sendable {
    private let files: [String]
    private let interval: Duration
    private let logger: Logger
    private let reload: @Sendable () throws -> Void
    private let state: Mutex<State>

    private struct State {
        /// What the files were when the certificates in use were read.
        var loaded: [Signature?]
        /// What they were when reading them failed, so that this is told once.
        var failed: [Signature?]?
        var checkedAt = ContinuousClock.now
    }

    /// Differs whenever a file has been written or replaced.
    private struct Signature: Equatable {
        let inode: UInt64
        let bytes: Int
        let modified: Date
    }

    /// Make it before the certificates are read for the first time, so that no change is missed.
    init(
        _ files: [URL],
        interval: Duration,
        logger: Logger,
        reload: @escaping @Sendable () throws -> Void
    ) {
        self.files = files.map(\.path)
        self.interval = interval
        self.logger = logger
        self.reload = reload
        state = Mutex(State(loaded: self.files.map(Self.signature)))
    }

    func reloadIfChanged(now: ContinuousClock.Instant = .now) {
        let isDue = state.withLock { state in
            guard now - state.checkedAt >= interval else { return false }
            state.checkedAt = now
            return true
        }
        guard isDue else { return }
        let current = files.map(Self.signature)
        let isNews = state.withLock { $0.loaded != current && $0.failed != current }
        guard isNews else { return }
        do {
            try reload()
            state.withLock { state in
                state.loaded = current
                state.failed = nil
            }
            logger.notice("certificates were read again", metadata: ["files": "\(files)"])
        } catch {
            state.withLock { $0.failed = current }
            logger.error(
                "certificates have changed but cannot be used; the earlier ones are served on",
                metadata: ["error": "\(error)"]
            )
        }
    }

    private static func signature(_ path: String) -> Signature? {
        // Through links: what counts is the file behind them.
        let path = URL(filePath: path).resolvingSymlinksInPath().path
        // A file that is not there has none.
        guard let attributes = try? FileManager.default.attributesOfItem(atPath: path),
            let inode = (attributes[.systemFileNumber] as? NSNumber)?.uint64Value,
            let bytes = (attributes[.size] as? NSNumber)?.intValue,
            let modified = attributes[.modificationDate] as? Date
        else { return nil }
        return Signature(inode: inode, bytes: bytes, modified: modified)
    }
}
