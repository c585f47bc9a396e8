package import Control
import Foundation
import Synchronization

/// The logs of all apps; only those in use are held open.
package final class LogStore: Sendable {
    private let folder: StateFolder
    private let limits: AppLog.Limits
    private let logs = Mutex<[ApplicationID: AppLog]>([:])

    package init(folder: StateFolder, limits: AppLog.Limits = AppLog.Limits()) {
        self.folder = folder
        self.limits = limits
    }

    package func log(of app: ApplicationID) -> AppLog {
        logs.withLock { logs in
            if let log = logs[app] { return log }
            let log = AppLog(app: app, folder: folder.log(app.rawValue), limits: limits)
            logs[app] = log
            return log
        }
    }

    /// Lets a log go that nobody writes to or follows.
    package func release(_ app: ApplicationID) {
        logs.withLock { logs in
            if logs[app]?.isUnused == true { logs[app] = nil }
        }
    }

    /// Ends all readers of a log, before its files are removed.
    package func close(_ app: ApplicationID) {
        logs.withLock { $0.removeValue(forKey: app) }?.close()
    }

    package func closeAll() {
        let all = logs.withLock { logs in
            defer { logs = [:] }
            return Array(logs.values)
        }
        for log in all { log.close() }
    }
}
