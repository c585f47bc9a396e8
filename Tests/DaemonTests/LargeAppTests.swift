import Control
@testable import Daemon
import Foundation
import Testing

/// Apps so large that compiling them is most of a start.
@Suite(.serialized) struct LargeAppTests {
    @Test func `a large app is started with its own compiled modules, which no other app sees`() async throws
    {
        try await HostFixture.with {
            // Whatever the machine's speed, a large app is one here.
            $0.limits.slowImport = .zero
            $0.sleep.after = .milliseconds(200)
            $0.sleep.frozenFor = .zero
        } _: { host in
            try await host.deploy("large", Self.files(bytes: 683 << 10))
            let app = try ApplicationID(validating: "large")
            let version = try #require(try await host.daemon.versions(of: app).first)
            let cache = host.folder.path + "/state/apps/large/cache/" + version.id.rawValue
            let compiled = FileManager.default.enumerator(atPath: cache)?.compactMap { $0 as? String } ?? []
            #expect(compiled.contains { $0.hasSuffix("part10.ts.js") }, "\(compiled)")
            let first = try await host.send(to: "large")
            #expect(first.body == "683 KB")
            try await host.wait("large", for: .asleep)
            let time = { (path: String) -> Date? in
                try FileManager.default.attributesOfItem(atPath: cache + "/" + path)[.modificationDate]
                    as? Date
            }
            let module = try #require(compiled.first { $0.hasSuffix("part10.ts.js") })
            let before = try time(module)
            #expect(try await host.send(to: "large").body == "683 KB")
            #expect(try time(module) == before)
            // A further version has a folder of its own, and with the app all of them go.
            try await host.daemon.delete(app)
            #expect(!FileManager.default.fileExists(atPath: cache))
        }
    }

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
