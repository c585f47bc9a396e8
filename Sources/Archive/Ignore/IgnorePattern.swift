/// One line of a `.gitignore` file, by the rules of gitignore(5).
struct IgnorePattern: Equatable {
    /// Whether the pattern takes back what an earlier one left out.
    let isNegated: Bool
    private let isFolderOnly: Bool
    private let segments: [Segment]

    private enum Segment: Equatable {
        /// `**`: any number of folders.
        case anyFolders
        case glob(Glob)
    }

    /// Reads a line.
    ///
    /// - Returns: Nothing for a comment, a blank line or a pattern that can match nothing.
    init?(line: String) {
        var text = Array(line.unicodeScalars)
        if text.last == "\r" { text.removeLast() }
        // Spaces at the end do not count unless the last is escaped.
        while text.last == " ", text.dropLast().last != "\\" { text.removeLast() }
        guard let first = text.first, first != "#" else { return nil }
        isNegated = first == "!"
        if isNegated { text.removeFirst() }
        isFolderOnly = text.last == "/"
        if isFolderOnly { text.removeLast() }
        let isAnchored = text.contains("/")
        if text.first == "/" { text.removeFirst() }
        guard !text.isEmpty else { return nil }
        var segments: [Segment] = isAnchored ? [] : [.anyFolders]
        for part in text.split(separator: "/", omittingEmptySubsequences: false) {
            if Array(part) == ["*", "*"] {
                segments.append(.anyFolders)
            } else {
                guard let glob = Glob(Array(part)) else { return nil }
                segments.append(.glob(glob))
            }
        }
        self.segments = segments
    }

    /// Whether a path, in parts below the ignore file's folder, matches.
    func matches(_ components: ArraySlice<String>, isFolder: Bool) -> Bool {
        guard isFolder || !isFolderOnly else { return false }
        let parts = components.map { Array($0.unicodeScalars) }
        // reached[i]: the segments so far match the first i parts.
        var reached = [Bool](repeating: false, count: parts.count + 1)
        reached[0] = true
        for (index, segment) in segments.enumerated() {
            var next = [Bool](repeating: false, count: parts.count + 1)
            switch segment {
            case .anyFolders:
                // A trailing ** matches everything inside, so at least one part.
                let isLast = index == segments.count - 1
                var isReached = false
                for i in reached.indices {
                    if isLast {
                        next[i] = isReached
                        isReached = isReached || reached[i]
                    } else {
                        isReached = isReached || reached[i]
                        next[i] = isReached
                    }
                }
            case .glob(let glob):
                for i in parts.indices where reached[i] && glob.matches(parts[i]) { next[i + 1] = true }
            }
            reached = next
        }
        return reached[parts.count]
    }
}
