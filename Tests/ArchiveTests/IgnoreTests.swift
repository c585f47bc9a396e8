import Archive
import Foundation
import TestSupport
import Testing

/// Compares with git itself, on random ignore files and trees.
struct IgnoreTests {
    @Test(arguments: 0..<40)
    func `what is packed is what git would track`(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let names = ["a", "b", "ab", "a.log", "foo", "foo.ts", "x y", "#c", "!d", "aa1", "B", "[z]"]
        let patterns = [
            "a", "/a", "a/", "*.log", "!a.log", "**/foo", "foo/**", "a/**/b", "a*", "?b", "[ab]", "[!a]b",
            "/foo/",
            "b/a", "\\#c", "\\!d", "# comment", "", "x y", "x\\ y", "foo.ts ", "!foo/", "*", "!*/", "!b",
            "[a-z]*[0-9]",
            "**", "a/*", "!a/b", "[[:upper:]]", "\\[z]", "**/", "foo**", "/**/ab", "ab/**/", "[", "a[", "a\\",
        ]
        try withTemporaryFolder { folder in
            let app = folder.appending(path: "app")
            var files: [String: String] = ["top": ""]
            for _ in 0..<40 {
                let depth = Int.random(in: 1...3, using: &random)
                let path = (0..<depth).map { _ in names.randomElement(using: &random) ?? "a" }.joined(
                    separator: "/"
                )
                let isFree = files.keys.allSatisfy {
                    $0 != path && !$0.hasPrefix(path + "/") && !path.hasPrefix($0 + "/")
                }
                if isFree { files[path] = "" }
            }
            let folders = Set(files.keys.map { $0.split(separator: "/").dropLast().joined(separator: "/") })
            for place in folders.sorted() where place.isEmpty || Int.random(in: 0..<3, using: &random) == 0 {
                let lines = (0..<Int.random(in: 1...5, using: &random)).map { _ in
                    patterns.randomElement(using: &random) ?? ""
                }
                files[place.isEmpty ? ".gitignore" : place + "/.gitignore"] =
                    lines.joined(separator: "\n") + "\n"
            }
            try app.write(files)
            #expect(try run("git", ["init", "-q"], in: app).status == 0)
            let git = try run(
                "git",
                ["-c", "core.excludesFile=/dev/null", "ls-files", "-z", "--others", "--exclude-standard"],
                in: app
            )
            let expected = Set(git.output.split(separator: "\0").map(String.init))
            _ = try ArchiveWriter().pack(app, to: folder.appending(path: "a.tar.gz"))
            let packed: Set<String>
            do {
                _ = try ArchiveReader.unpack(
                    folder.appending(path: "a.tar.gz"),
                    into: folder.appending(path: "out")
                )
                packed = Set(try folder.appending(path: "out").files().keys)
            } catch let error as ArchiveError where error.message == "the archive is empty" {
                packed = []
            }
            let ignoreFiles = files.filter { $0.key.hasSuffix(".gitignore") }
            #expect(packed == expected, "seed \(seed): \(ignoreFiles)")
        }
    }
}
