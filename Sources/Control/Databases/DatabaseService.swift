public import struct Foundation.Date
public import struct Foundation.URL

/// What can be done with an app's databases beside using them.
///
/// Every method throws ``MartletError``; `not_found` where the app or the database does not exist, `unavailable` where
/// the host has no object store or does not reach it.
public protocol DatabaseService: Sendable {
    /// The app's databases as they are on the host and in the replica.
    func databases(of app: ApplicationID) async throws -> [DatabaseStatus]

    /// Takes the databases back to a time, after a fork of their present state was made.
    ///
    /// Requests are held meanwhile.
    ///
    /// - Throws: `not_found` when the history does not reach back so far.
    func restoreDatabases(of app: ApplicationID, at time: Date) async throws -> DatabaseRestore

    /// Makes another app with the same version and variables and a copy of the databases, of now or of a time.
    ///
    /// - Throws: `name_taken`.
    func fork(
        _ app: ApplicationID,
        as name: ApplicationID,
        at time: Date?,
        owner: UserID
    ) async throws
        -> DatabaseFork

    /// A copy of a database in one file, checked in full, which the caller removes.
    ///
    /// `database`: by its path below the data folder; without it the only one there is, or `main.db`.
    func export(_ database: String?, of app: ApplicationID, at time: Date?) async throws -> URL

    /// Runs SQL on a database; without `canWrite` on a connection that can only read.
    func query(_ query: DatabaseQuery, of app: ApplicationID) async throws -> DatabaseResult
}

/// One database of an app.
public struct DatabaseStatus: Codable, Sendable, Equatable {
    /// The path below the app's data folder.
    public var name: String
    public var bytes: Int
    /// The epoch under which its replica is.
    public var epoch: Int
    /// Whether its changes are streamed at this moment; those of an asleep app are in the replica already.
    public var isStreamed: Bool
    /// Why it is not replicated.
    public var problem: String?
    /// The oldest time to which the app can be taken back.
    public var restorableSince: Date?
    /// When the replica was last restored and found sound.
    public var provenAt: Date?

    public init(
        name: String,
        bytes: Int,
        epoch: Int,
        isStreamed: Bool,
        problem: String? = nil,
        restorableSince: Date? = nil,
        provenAt: Date? = nil
    ) {
        self.name = name
        self.bytes = bytes
        self.epoch = epoch
        self.isStreamed = isStreamed
        self.problem = problem
        self.restorableSince = restorableSince
        self.provenAt = provenAt
    }
}

/// What taking databases back to a time has done.
public struct DatabaseRestore: Codable, Sendable, Equatable {
    public var app: ApplicationID
    public var time: Date
    /// The app that has the state from before.
    public var fork: ApplicationID
    public var databases: Int
    public var bytes: Int
    public var epoch: Int

    public init(app: ApplicationID, time: Date, fork: ApplicationID, databases: Int, bytes: Int, epoch: Int) {
        self.app = app
        self.time = time
        self.fork = fork
        self.databases = databases
        self.bytes = bytes
        self.epoch = epoch
    }
}

/// What a fork has made.
public struct DatabaseFork: Codable, Sendable, Equatable {
    public var app: ApplicationID
    public var source: ApplicationID
    public var url: String
    public var databases: Int
    public var bytes: Int

    public init(app: ApplicationID, source: ApplicationID, url: String, databases: Int, bytes: Int) {
        self.app = app
        self.source = source
        self.url = url
        self.databases = databases
        self.bytes = bytes
    }
}

/// SQL for a database.
public struct DatabaseQuery: Codable, Sendable, Equatable {
    /// The longest text, in bytes.
    public static let maximumBytes = 64 << 10

    public var database: String?
    /// One statement or several, run in order on one connection.
    public var sql: String
    public var canWrite: Bool

    public init(database: String?, sql: String, canWrite: Bool) {
        self.database = database
        self.sql = sql
        self.canWrite = canWrite
    }
}

/// What the statements of a query gave, one after the other.
public struct DatabaseResult: Codable, Sendable, Equatable {
    public struct Statement: Codable, Sendable, Equatable {
        public var columns: [String]
        public var rows: [[DatabaseCell]]
        /// Rows that were changed.
        public var changes: Int
        /// There were more rows than are shown.
        public var isCut: Bool

        public init(columns: [String], rows: [[DatabaseCell]], changes: Int, isCut: Bool) {
            self.columns = columns
            self.rows = rows
            self.changes = changes
            self.isCut = isCut
        }
    }

    public var statements: [Statement]

    public init(statements: [Statement]) { self.statements = statements }
}

/// A value of SQLite; a blob is the text `x'…'`, and an integer beyond 53 bits a text.
public enum DatabaseCell: Codable, Sendable, Equatable, CustomStringConvertible {
    case null
    case integer(Int)
    case real(Double)
    case text(String)

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Int.self) {  // Else it is one of the others.
            self = .integer(value)
        } else if let value = try? container.decode(Double.self) {  // Else it is a text.
            self = .real(value)
        } else {
            self = .text(try container.decode(String.self))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .integer(let value): try container.encode(value)
        case .real(let value): try container.encode(value)
        case .text(let value): try container.encode(value)
        }
    }

    public var description: String {
        switch self {
        case .null: "NULL"
        case .integer(let value): "\(value)"
        case .real(let value): "\(value)"
        case .text(let value): value
        }
    }
}
