import Foundation

/// What the declared types of a version say: a file beside its modules, written by the runtime's `annotate.ts` when the
/// version is resolved, and read by the framework at every start.
struct TypeSchema {
    /// The folder in the app's own that only the platform writes.
    static let folderName = ".martlet"
    /// Relative to the app's folder.
    static let path = folderName + "/schema.json"

    private static let maximumBytes = 8 << 20
    private static let maximumNotes = 20

    /// What is not checked, for the person who deploys.
    let notes: [String]

    private struct File: Decodable {
        var warnings: [Warning]?

        struct Warning: Decodable {
            var module: String
            var line: Int
            var `where`: String
            var message: String
        }
    }

    /// Reads the notes of the file; nil where there is none, or none that can be read.
    init?(of folder: String) {
        guard Self.exists(in: folder),
            let data = FileManager.default.contents(atPath: folder + "/" + Self.path),
            data.count <= Self.maximumBytes,
            let file = try? JSONDecoder().decode(File.self, from: data)  // As if it were not there.
        else { return nil }
        let all = file.warnings ?? []
        var notes = all.prefix(Self.maximumNotes).map {
            "\($0.module):\($0.line): \($0.where) is not checked: \($0.message)"
        }
        if all.count > notes.count { notes.append("and \(all.count - notes.count) more of the kind") }
        self.notes = notes
    }

    /// Whether a version has one.
    static func exists(in folder: String) -> Bool {
        FileManager.default.fileExists(atPath: folder + "/" + path)
    }

    /// Takes away what came with an upload, or what an interrupted try has left.
    static func clear(_ folder: String) throws {
        let target = folder + "/" + folderName
        // Through no link: the name itself goes.
        guard (try? FileManager.default.attributesOfItem(atPath: target)) != nil else { return }
        do { try FileManager.default.removeItem(atPath: target) } catch {
            throw SystemError(errno == 0 ? EIO : errno, "remove \(target)")
        }
    }

    static func prepare(_ folder: String) throws {
        try StateFolder.make(folder + "/" + folderName, mode: 0o755)
    }

    /// Whether the types are worth reading: the script has some, and one of the modules imports the framework.
    static func isWanted(main: String, in folder: String) -> Bool {
        guard [".ts", ".tsx", ".mts"].contains(where: main.hasSuffix) else { return false }
        if importsFramework(folder + "/" + main) { return true }
        guard let walk = FileManager.default.enumerator(atPath: folder) else { return false }
        var seen = 0
        while let name = walk.nextObject() as? String {
            if name == "node_modules" || name.hasSuffix("/node_modules") {
                walk.skipDescendants()
                continue
            }
            guard [".ts", ".tsx", ".mts"].contains(where: name.hasSuffix) else { continue }
            seen += 1
            // Of an app with so many modules it is taken for granted.
            if seen > 2000 || importsFramework(folder + "/" + name) { return true }
        }
        return false
    }

    private static func importsFramework(_ file: String) -> Bool {
        guard let data = FileManager.default.contents(atPath: file) else { return false }
        return data.range(of: Data("\"martlet\"".utf8)) != nil
            || data.range(of: Data("'martlet'".utf8)) != nil
    }
}
