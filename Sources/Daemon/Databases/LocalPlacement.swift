import Control
import Foundation
import Replication

/// What a host notes beside an app's data: under which epoch it is its own, and which replica belongs to which file.
///
/// It is written when a placement is complete and whenever a database appears or goes. Data without it is not of this host's
/// present placement.
package struct LocalPlacement: Codable, Sendable, Equatable {
    package var epoch: Int
    /// The store that the epoch is of, as it names itself.
    package var store: String
    /// By path below the data folder.
    package var databases: [String: Database] = [:]

    package struct Database: Codable, Sendable, Equatable {
        package var incarnation: Int
        /// The file's number: another file under the same name is another database.
        package var inode: UInt64
        /// The last transaction in the replica when the database was last released.
        package var transaction: UInt64?

        package init(incarnation: Int, inode: UInt64, transaction: UInt64? = nil) {
            self.incarnation = incarnation
            self.inode = inode
            self.transaction = transaction
        }
    }

    package init(epoch: Int, store: String) {
        self.epoch = epoch
        self.store = store
    }

    /// Reads the note; nil where there is none, or none that can be read.
    static func read(_ path: String) -> LocalPlacement? {
        guard let data = FileManager.default.contents(atPath: path) else { return nil }
        // A note of an unknown shape is as good as none: the data then comes from the replica.
        return try? JSONFormat.decoder().decode(LocalPlacement.self, from: data)
    }

    func write(_ path: String) throws {
        try StateFolder.write(try JSONFormat.encoder().encode(self), to: path, mode: 0o600)
    }

    /// Takes note of a database that was found, and says whether it is another one than was known under its name.
    mutating func found(_ database: FoundDatabase) -> (known: Database, replaced: Database?) {
        if let known = databases[database.name] {
            if known.inode == database.inode { return (known, nil) }
            let next = Database(incarnation: known.incarnation + 1, inode: database.inode)
            databases[database.name] = next
            return (next, known)
        }
        let new = Database(incarnation: 1, inode: database.inode)
        databases[database.name] = new
        return (new, nil)
    }
}
