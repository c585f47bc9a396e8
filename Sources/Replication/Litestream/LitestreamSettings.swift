package import Storage

/// How Litestream is run.
package struct LitestreamSettings: Sendable {
    /// The program, version 0.5.17.
    package var executable: String
    /// A folder of its own, for its socket, its configuration and a lock; it is made when it is not there.
    package var stateFolder: String
    /// The object store that replicas are in; the same that `store` given to the replicator is.
    package var address: StoreAddress
    /// Keys of the store start with this inside of `address`: empty but for stores that are a part of another.
    package var certificatesFile: String?
    /// How long a sync, with restarts of Litestream in it, may take before it is given up as `unavailable`.
    package var syncTimeout: Duration = .seconds(15)
    /// How many may wait for one database's next sync.
    package var waitersPerDatabase = 10_000
    /// For how long states of the past can be restored.
    package var retention: Duration = .seconds(30 * 24 * 3600)
    /// How often a new snapshot bounds the length of a restore.
    package var snapshotInterval: Duration = .seconds(24 * 3600)
    /// How often a follower looks for new transactions.
    package var followInterval: Duration = .milliseconds(50)
    /// How long a restore may go without any progress before it is given up.
    package var restoreStall: Duration = .seconds(120)

    package init(executable: String, stateFolder: String, address: StoreAddress) {
        self.executable = executable
        self.stateFolder = stateFolder
        self.address = address
    }

    /// Nothing is inherited: a stray AWS_CA_BUNDLE makes every request fail, and a stray profile takes other keys.
    var environment: [String: String] {
        var environment = ["HOME": stateFolder, "AWS_EC2_METADATA_DISABLED": "true", "TZ": "UTC"]
        if let certificatesFile { environment["SSL_CERT_FILE"] = certificatesFile }
        if case .s3(let configuration) = address {
            environment["AWS_ACCESS_KEY_ID"] = configuration.credentials.accessKey
            environment["AWS_SECRET_ACCESS_KEY"] = configuration.credentials.secretKey
            environment["AWS_SESSION_TOKEN"] = configuration.credentials.sessionToken
            environment["AWS_REGION"] = configuration.region
        }
        return environment
    }

    /// The folder that Litestream runs in; `url(of:)` may lead through it.
    var workingFolder: String {
        if case .folder(let root) = address { root } else { stateFolder }
    }

    /// Where a replica is, as Litestream takes it.
    func url(of replica: ReplicaLocation) -> String {
        switch address {
        case .folder(let root):
            // Litestream percent-encodes a folder's path and uses the result as a name. A path that this would change
            // is reached through the process's working folder instead.
            let isPlain = root.utf8.allSatisfy { byte in
                DatabaseName.encoded(String(decoding: [byte], as: UTF8.self)).utf8.count == 1
            }
            return "file://\(isPlain ? root : "/proc/self/cwd")/\(replica.prefix.path)"
        case .s3(let configuration):
            let path = Self.percentEncoded(configuration.prefix + replica.prefix.path)
            let endpoint = Self.percentEncoded("\(configuration.scheme)://\(configuration.authority)")
            return "s3://\(configuration.bucket)/\(path)?endpoint=\(endpoint)&region=\(configuration.region)"
                + "&forcePathStyle=\(configuration.style == .path)"
        }
    }

    /// The configuration file: no databases, because they are registered over the socket.
    ///
    /// The check of the retention of single transactions lists every database's files; once an hour instead of every
    /// 15 seconds keeps idle databases from costing requests. A database that is written to is looked at after each
    /// compaction anyway, which lists all that are left: so they are kept for a minute after it and not for five. A follower
    /// that comes later than that takes the compacted files.
    func configuration(socket: String) -> String {
        """
        socket:
          enabled: true
          path: "\(socket)"
          permissions: 0600
        logging:
          level: warn
          type: text
          stderr: true
        l0-retention: 1m
        l0-retention-check-interval: 1h
        levels:
          - interval: 10s
          - interval: 5m
          - interval: 1h
        snapshot:
          interval: \(snapshotInterval.components.seconds)s
          retention: \(retention.components.seconds)s
        dbs: []
        """
    }

    private static func percentEncoded(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var out: [UInt8] = []
        for byte in text.utf8 {
            let isPlain = DatabaseName.encoded(String(decoding: [byte], as: UTF8.self)).utf8.count == 1
            if isPlain || byte == UInt8(ascii: "~") || byte == UInt8(ascii: ":") {
                out.append(byte)
            } else {
                out += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: out, as: UTF8.self)
    }
}
