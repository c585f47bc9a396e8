import Foundation
import TestSupport

/// The blocks of code of a page of the documentation.
enum Markdown {
    struct Block {
        var language: String
        /// The file that the block names after its language.
        var file: String?
        var lines: [String]
    }

    /// `page`: relative to the root of the source tree.
    static func blocks(of page: String) throws -> [Block] {
        let text = try String(contentsOf: repositoryURL.appending(path: page), encoding: .utf8)
        var blocks: [Block] = []
        var open: Block?
        for line in text.components(separatedBy: "\n") {
            guard line.hasPrefix("```") else {
                open?.lines.append(line)
                continue
            }
            if let block = open {
                blocks.append(block)
                open = nil
            } else {
                let words = line.dropFirst(3).split(separator: " ").map(String.init)
                open = Block(language: words.first ?? "", file: words.dropFirst().first, lines: [])
            }
        }
        return blocks
    }
}
