import Archive
import Foundation
import Testing

struct ArchiveWriterTests {
    @Test func `a folder comes back as it was`() throws {
        try withTemporaryFolder { folder in
            let app = folder.appending(path: "app")
            let long = (1...20).map { "folder-number-\($0)" }.joined(separator: "/") + "/file.ts"
            let files = [
                "main.ts": "export default {}", "empty.txt": "", "src/a b/ü.ts": "x", long: "deep",
                "big.bin": String(repeating: "0123456789", count: 100_003),
            ]
            try app.write(files)
            try FileManager.default.createSymbolicLink(
                atPath: app.appending(path: "src/link.ts").path,
                withDestinationPath: "../main.ts"
            )
            let archive = folder.appending(path: "app.tar.gz")
            let summary = try ArchiveWriter().pack(app, to: archive)
            #expect(summary.files == 6)
            #expect(summary.unpackedBytes == 17 + 1 + 4 + 1_000_030)
            let size = try FileManager.default.attributesOfItem(atPath: archive.path)[.size] as? Int
            #expect(summary.archiveBytes == size)
            let unpacked = try ArchiveReader.unpack(archive, into: folder.appending(path: "out"))
            #expect(unpacked.entries == 6)
            #expect(
                try folder.appending(path: "out").files()
                    == files.merging(["src/link.ts": "-> ../main.ts"]) { $1 }
            )
        }
    }

    @Test func `equal folders give equal archives whatever their times, owners and places`() throws {
        try withTemporaryFolder { folder in
            for name in ["one", "two"] {
                try folder.appending(path: name).write(["b.ts": "b", "a.ts": "a", "c/d.ts": "d"])
            }
            try FileManager.default.setAttributes(
                [.modificationDate: Date(timeIntervalSince1970: 1)],
                ofItemAtPath: folder.appending(path: "two/a.ts").path
            )
            var archives: [Data] = []
            for name in ["one", "two"] {
                let archive = folder.appending(path: "\(name).tar.gz")
                _ = try ArchiveWriter().pack(folder.appending(path: name), to: archive)
                archives.append(try Data(contentsOf: archive))
            }
            #expect(archives[0] == archives[1])
        }
    }

    @Test func `GNU tar reads what is packed`() throws {
        try withTemporaryFolder { folder in
            let long = String(repeating: "n", count: 180) + ".ts"
            try folder.appending(path: "app").write(["main.ts": "1", "src/x.ts": "2", long: "3"])
            try FileManager.default.setAttributes(
                [.posixPermissions: 0o700],
                ofItemAtPath: folder.appending(path: "app/main.ts").path
            )
            _ = try ArchiveWriter().pack(
                folder.appending(path: "app"),
                to: folder.appending(path: "a.tar.gz")
            )
            let listing = try run("tar", ["-tvzf", "a.tar.gz"], in: folder)
            #expect(listing.status == 0)
            #expect(listing.output.contains("-rwxr-xr-x 0/0"))
            #expect(listing.output.contains(long))
            try FileManager.default.createDirectory(
                at: folder.appending(path: "out"),
                withIntermediateDirectories: false
            )
            #expect(try run("tar", ["-xzf", "a.tar.gz", "-C", "out"], in: folder).status == 0)
            #expect(
                try folder.appending(path: "out").files() == ["main.ts": "1", "src/x.ts": "2", long: "3"]
            )
        }
    }

    @Test func `ignored files, other programs' folders and secrets stay at home`() throws {
        try withTemporaryFolder { folder in
            let app = folder.appending(path: "app")
            try app.write([
                ".gitignore": "*.log\nbuild/\n!keep.log\n", ".martletignore": "docs\n!build/\n",
                "main.ts": "",
                "a.log": "", "keep.log": "", "build/x": "", "docs/y": "", ".git/config": "",
                "node_modules/z/i.js": "",
                ".env": "PASSWORD=1", ".env.production": "", ".env.example": "",
                "sub/.gitignore": "/only-here\n",
                "sub/only-here": "", "sub/deep/only-here": "",
            ])
            #expect(mkfifo(app.appending(path: "pipe").path, 0o600) == 0)
            let summary = try ArchiveWriter().pack(app, to: folder.appending(path: "a.tar.gz"))
            #expect(summary.leftOutSecrets == [".env", ".env.production"])
            #expect(summary.leftOutSpecialFiles == ["pipe"])
            _ = try ArchiveReader.unpack(
                folder.appending(path: "a.tar.gz"),
                into: folder.appending(path: "out")
            )
            #expect(
                try folder.appending(path: "out").files().keys.sorted() == [
                    ".env.example", ".gitignore", ".martletignore", "build/x", "keep.log", "main.ts",
                    "sub/.gitignore", "sub/deep/only-here",
                ]
            )
        }
    }

    @Test(arguments: ["../secret", "/etc/passwd", "a/../../../x", "a/../b", "./../../x"])
    func `a link that leads out, or could, is refused`(_ target: String) throws {
        try withTemporaryFolder { folder in
            let app = folder.appending(path: "app")
            try app.write(["main.ts": "", "a/file": ""])
            try FileManager.default.createSymbolicLink(
                atPath: app.appending(path: "link").path,
                withDestinationPath: target
            )
            let error = #expect(throws: ArchiveError.self) {
                try ArchiveWriter().pack(app, to: folder.appending(path: "a.tar.gz"))
            }
            #expect(error?.code == .unsafe)
            #expect(error?.message.contains("the link \"link\" to \"\(target)\"") == true)
        }
    }

    @Test func `limits on files and bytes are told before anything is sent`() throws {
        try withTemporaryFolder { folder in
            let app = folder.appending(path: "app")
            try app.write(["a": "12345", "b": "12345", "c": "12345"])
            var limits = ArchiveLimits.standard
            limits.entries = 2
            let tooMany = #expect(throws: ArchiveError.self) {
                try ArchiveWriter(limits: limits).pack(app, to: folder.appending(path: "a.tar.gz"))
            }
            #expect(tooMany?.code == .tooLarge)
            #expect(tooMany?.message.contains("more than 2 files; leave out") == true)
            limits = .standard
            limits.unpackedBytes = 12
            let tooLarge = #expect(throws: ArchiveError.self) {
                try ArchiveWriter(limits: limits).pack(app, to: folder.appending(path: "a.tar.gz"))
            }
            #expect(tooLarge?.code == .tooLarge)
        }
    }

    @Test func `a folder that is not there is named`() throws {
        try withTemporaryFolder { folder in
            let error = #expect(throws: ArchiveError.self) {
                try ArchiveWriter().pack(
                    folder.appending(path: "nowhere"),
                    to: folder.appending(path: "a.tar.gz")
                )
            }
            #expect(error?.code == .file)
            #expect(error?.message.contains("nowhere: No such file or directory") == true)
        }
    }
}
