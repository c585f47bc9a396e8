extension ApplicationSettings {
    /// The largest `martlet.json` that is read.
    public static let maximumFileBytes = 256 * 1024

    /// Reads the text of a `martlet.json`, in which comments and trailing commas are allowed.
    ///
    /// - Throws: ``MartletError`` with code `invalid_settings`; its message starts with `file:line:column:` and lists
    ///   what is allowed there.
    public init(parsing text: String, file: String = Self.fileName) throws(MartletError) {
        let reader = SettingsReader(file: file)
        let json: PositionedJSON
        do {
            json = try PositionedJSONParser.parse(text)
        } catch {
            throw reader.error(error.position, error.message)
        }
        self.init()
        let keys = ["name", "main", "env", "limits", "sleepAfter", "durability", "cron", "network"]
        // An editor's schema is welcome and has no effect.
        let members = try reader.members(json, key: file, allowed: keys + ["$schema"])
        if let json = members["name"] { name = try Self.name(json, reader) }
        if let json = members["main"] { main = try Self.main(json, reader) }
        if let json = members["env"] { env = try Self.env(json, reader) }
        if let json = members["limits"] { limits = try Self.limits(json, reader) }
        if let json = members["sleepAfter"] { sleepAfter = try Self.sleepAfter(json, reader) }
        if let json = members["durability"] { durability = try reader.choice("durability", json) }
        if let json = members["cron"] { cron = try Self.cron(json, reader) }
        if let json = members["network"] { network = try Self.network(json, reader) }
    }

    private static func name(
        _ json: PositionedJSON,
        _ reader: SettingsReader
    ) throws(MartletError) -> ApplicationID {
        let string = try reader.string("name", json, allowed: "1 to 63 of a-z, 0-9 and -")
        do {
            return try ApplicationID(validating: string)
        } catch {
            throw reader.error(json.position, error.message)
        }
    }

    private static func main(_ json: PositionedJSON, _ reader: SettingsReader) throws(MartletError) -> String
    {
        let allowed =
            "a path inside the app's folder such as \"src/main.ts\", ending in .ts, .tsx, .mts, .js, .mjs or .wasm"
        let path = try reader.string("main", json, allowed: allowed)
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        let ending = path.split(separator: ".").last.map(String.init) ?? ""
        guard !parts.contains(".."), !parts.contains(""), !path.utf8.contains(0), path.utf8.count <= 1024,
            ["ts", "tsx", "mts", "js", "mjs", "jsx", "wasm"].contains(ending)
        else {
            throw reader.mismatch("main", json, allowed: allowed)
        }
        return path
    }

    private static func env(
        _ json: PositionedJSON,
        _ reader: SettingsReader
    ) throws(MartletError) -> [String: String] {
        guard case .object(let members) = json.value else {
            throw reader.mismatch("env", json, allowed: "an object of names and strings")
        }
        guard members.count <= 256 else {
            throw reader.error(json.position, "\"env\" has more than 256 variables")
        }
        var variables: [String: String] = [:]
        for member in members {
            guard case .string(let value) = member.value.value else {
                throw reader.mismatch(member.key, member.value, allowed: "a string")
            }
            do {
                try EnvironmentVariable(name: member.key, value: value, isSecret: false).validate()
            } catch {
                throw reader.error(member.position, error.message)
            }
            variables[member.key] = value
        }
        return variables
    }

    private static func limits(
        _ json: PositionedJSON,
        _ reader: SettingsReader
    ) throws(MartletError) -> Limits {
        let members = try reader.members(
            json,
            key: "limits",
            allowed: ["memory", "cpu", "requestTimeout", "disk"]
        )
        var limits = Limits()
        if let json = members["memory"] {
            limits.memoryBytes = try reader.bytes("memory", json, in: 32 << 20...64 << 30)
        }
        if let json = members["cpu"] { limits.cpu = try reader.number("cpu", json, in: 0.05...64) }
        if let json = members["requestTimeout"] {
            limits.requestTimeout = try reader.duration(
                "requestTimeout",
                json,
                in: .seconds(1)...(.seconds(3600))
            )
        }
        if let json = members["disk"] {
            limits.diskBytes = try reader.bytes("disk", json, in: 1 << 20...1 << 40)
        }
        return limits
    }

    private static func sleepAfter(
        _ json: PositionedJSON,
        _ reader: SettingsReader
    ) throws(MartletError) -> SleepPolicy {
        if json.value == .string("never") { return .never }
        let range = Duration.milliseconds(100)...(.seconds(7 * 24 * 3600))
        return .after(try reader.duration("sleepAfter", json, in: range, or: "; or \"never\""))
    }

    private static func cron(
        _ json: PositionedJSON,
        _ reader: SettingsReader
    ) throws(MartletError) -> [CronEntry] {
        let allowed = "an array of objects such as { \"schedule\": \"0 4 * * *\", \"path\": \"/sweep\" }"
        guard case .array(let elements) = json.value else {
            throw reader.mismatch("cron", json, allowed: allowed)
        }
        guard elements.count <= 64 else {
            throw reader.error(json.position, "\"cron\" has more than 64 entries")
        }
        var entries: [CronEntry] = []
        for element in elements {
            let members = try reader.members(element, key: "cron", allowed: ["schedule", "path", "catchUp"])
            guard let schedule = members["schedule"], let path = members["path"] else {
                let missing = members["schedule"] == nil ? "schedule" : "path"
                throw reader.error(element.position, "\"\(missing)\" is missing; \"cron\" takes \(allowed)")
            }
            entries.append(
                CronEntry(
                    schedule: try Self.schedule(schedule, reader),
                    path: try Self.cronPath(path, reader),
                    catchUp: try members["catchUp"].map { json throws(MartletError) in
                        try reader.choice("catchUp", json)
                    } ?? .once
                )
            )
        }
        return entries
    }

    private static func schedule(
        _ json: PositionedJSON,
        _ reader: SettingsReader
    ) throws(MartletError) -> String {
        let allowed = "five fields, in UTC: minute, hour, day of the month, month, day of the week"
        let text = try reader.string("schedule", json, allowed: allowed)
        do {
            return try CronSchedule(parsing: text).description
        } catch {
            throw reader.error(json.position, error.message)
        }
    }

    private static func cronPath(
        _ json: PositionedJSON,
        _ reader: SettingsReader
    ) throws(MartletError) -> String {
        let allowed = "a path that starts with /"
        let path = try reader.string("path", json, allowed: allowed)
        let isPlain = path.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
        guard path.hasPrefix("/"), isPlain, path.utf8.count <= 2048 else {
            throw reader.mismatch("path", json, allowed: allowed)
        }
        return path
    }

    private static func network(
        _ json: PositionedJSON,
        _ reader: SettingsReader
    ) throws(MartletError) -> NetworkPolicy {
        let allowed =
            "\"open\", \"none\", or an array of host names such as [\"api.example.com\", \"*.example.org\"]"
        switch json.value {
        case .string("open"): return .open
        case .string("none"): return .none
        case .array(let elements) where elements.count <= 256:
            var names: [String] = []
            for element in elements {
                guard case .string(let name) = element.value, isHostPattern(name) else {
                    throw reader.mismatch("network", element, allowed: allowed)
                }
                names.append(name.lowercased())
            }
            return names.isEmpty ? .none : .only(names)
        default: throw reader.mismatch("network", json, allowed: allowed)
        }
    }

    private static func isHostPattern(_ name: String) -> Bool {
        let name = name.lowercased()
        let labels = (name.hasPrefix("*.") ? name.dropFirst(2) : name[...]).split(
            separator: ".",
            omittingEmptySubsequences: false
        )
        return name.utf8.count <= 253 && labels.count >= 2 && labels.allSatisfy { isDNSLabel(String($0)) }
            && labels.last?.allSatisfy(\.isNumber) == false
    }
}
