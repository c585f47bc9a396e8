import Foundation

/// How much there is to compile in a version, whatever the machine does meanwhile.
enum ScriptSize {
    private static let endings = [".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs"]

    /// Whether the scripts in a folder, with those of its packages, have at least so many bytes in all.
    static func reaches(_ bytes: Int, in folder: String) -> Bool {
        guard bytes > 0 else { return true }
        guard let walk = FileManager.default.enumerator(atPath: folder) else { return false }
        var sum = 0
        while let name = walk.nextObject() as? String {
            guard endings.contains(where: name.hasSuffix) else { continue }
            sum += (walk.fileAttributes?[.size] as? NSNumber)?.intValue ?? 0
            if sum >= bytes { return true }
        }
        return false
    }
}
