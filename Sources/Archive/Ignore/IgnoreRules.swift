/// The ignore files of a folder and the folders below it, as far as they have been read.
///
/// As in git, a later pattern wins over an earlier one, a deeper file over a higher one, and nothing below a left-out
/// folder comes back. `.martletignore` is read after `.gitignore` of the same folder.
struct IgnoreRules {
    /// Names of ignore files in the order of their weight.
    static let fileNames = [".gitignore", ".martletignore"]

    /// What is left out whatever an ignore file says.
    static let neverPacked: Set<String> = [".git", ".hg", ".svn"]

    /// What is left out unless an ignore file takes it back: what other programs make, and files with secrets.
    static let builtIn = """
        .DS_Store
        .martlet/
        node_modules/
        .env
        .env.*
        !.env.example
        """

    private struct File {
        let depth: Int
        let patterns: [IgnorePattern]
    }

    private var files: [File]

    init() {
        files = [File(depth: 0, patterns: Self.patterns(Self.builtIn))]
    }

    /// Adds an ignore file that stands in a folder `depth` levels below the top; files are added from the top down.
    mutating func add(_ text: String, atDepth depth: Int) {
        files.append(File(depth: depth, patterns: Self.patterns(text)))
    }

    /// Whether the entry at these parts below the top is left out; its folders are known not to be.
    func ignores(_ components: [String], isFolder: Bool) -> Bool {
        if let name = components.last, Self.neverPacked.contains(name) { return true }
        for file in files.reversed() {
            for pattern in file.patterns.reversed()
            where pattern.matches(components[file.depth...], isFolder: isFolder) {
                return !pattern.isNegated
            }
        }
        return false
    }

    private static func patterns(_ text: String) -> [IgnorePattern] {
        // Files from Windows may start with a byte order mark.
        let text =
            text.unicodeScalars.first == "\u{FEFF}"
            ? text.unicodeScalars.dropFirst() : text.unicodeScalars[...]
        return text.split(separator: "\n").compactMap { IgnorePattern(line: String($0)) }
    }
}
