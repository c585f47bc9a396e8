/// An app so large that compiling it is most of a start.
enum LargeApp {
    /// Modules of TypeScript that people could have written, `bytes` in all.
    static func files(bytes: Int) -> [String: String] {
        var files: [String: String] = [:]
        var imports = ""
        var left = bytes
        var number = 0
        while left > 0 {
            number += 1
            var text = ""
            var count = 0
            while text.utf8.count < min(left, 32 << 10) {
                count += 1
                text += """
                    export interface Item\(count) { id: number; title: string; tags?: readonly string[] }
                    export function describe\(count)(item: Item\(count), limit = \(count)): string {
                      const tags: string[] = (item.tags ?? []).filter((tag: string) => tag.length > limit);
                      return `${item.id}: ${item.title} (${tags.join(", ") || "none"})`;
                    }

                    """
            }
            left -= text.utf8.count
            files["part\(number).ts"] = text
            imports += "import * as part\(number) from \"./part\(number).ts\";\n"
        }
        let parts = (1...number).map { "part\($0)" }.joined(separator: ", ")
        files["main.ts"] =
            imports + "const parts: object[] = [\(parts)];\n"
            + "export default { fetch: (): Response => new Response(parts.length > 1 ? \"\(bytes >> 10) KB\" : \"\") };\n"
        return files
    }
}
