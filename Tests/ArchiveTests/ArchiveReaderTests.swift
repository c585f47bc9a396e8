import Archive
import Foundation
import TestSupport
import Testing

/// Archives are made by Python's `tarfile`, which writes whatever it is told to.
struct ArchiveReaderTests {
    private static let prelude = """
        import tarfile, io, gzip, sys
        def add(tar, name, type=tarfile.REGTYPE, link="", data=b"", mode=0o644, size=None):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.mode, entry.size = type, link, mode, len(data) if size is None else size
            entry.devmajor = entry.devminor = 1
            tar.addfile(entry, io.BytesIO(data))
        form = tarfile.PAX_FORMAT
        def make(*entries, form=form):
            with tarfile.open("a.tar.gz", "w:gz", format=form) as tar:
                for entry in entries: add(tar, **entry)

        """

    private func make(_ script: String, in folder: URL) throws {
        let result = try run("python3", ["-"], in: folder, input: Self.prelude + script)
        try #require(result.status == 0)
    }

    @Test(arguments: [
        ("make(dict(name='/etc/x'))", "\"/etc/x\" is an absolute path"),
        ("make(dict(name='../x'))", "\"../x\" leads out of the app's folder"),
        ("make(dict(name='a/../../x'))", "leads out of the app's folder"),
        ("make(dict(name='a', type=tarfile.SYMTYPE, link='/etc'))", "the link \"a\" to \"/etc\" leads out"),
        ("make(dict(name='a', type=tarfile.SYMTYPE, link='../..'))", "the link \"a\" to \"../..\" leads out"),
        ("make(dict(name='a', type=tarfile.SYMTYPE, link='b/../../x'))", "has .. after a name"),
        (
            "make(dict(name='d', type=tarfile.SYMTYPE, link='.'), dict(name='d/x', data=b'1'))",
            "\"d/x\" goes through \"d\", which is no folder"
        ),
        (
            "make(dict(name='m', data=b'1'), dict(name='h', type=tarfile.LNKTYPE, link='m'))",
            "\"h\" is a hard link"
        ),
        ("make(dict(name='n', type=tarfile.CHRTYPE))", "\"n\" is a device"),
        ("make(dict(name='n', type=tarfile.BLKTYPE))", "\"n\" is a device"),
        ("make(dict(name='n', type=tarfile.FIFOTYPE))", "\"n\" is a pipe"),
        ("make(dict(name='a\\nb'))", "\"a\\u{a}b\" has a control character"),
    ])
    func `what could do harm is refused and nothing stays behind`(_ script: String, _ message: String) throws
    {
        try withTemporaryFolder { folder in
            try make(script, in: folder)
            let error = #expect(throws: ArchiveError.self) {
                try ArchiveReader.unpack(
                    folder.appending(path: "a.tar.gz"),
                    into: folder.appending(path: "out")
                )
            }
            #expect(error?.code == .unsafe)
            #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["a.tar.gz"])
        }
    }

    @Test(arguments: [
        ("make(dict(name='a', data=b'1'), dict(name='a', data=b'2'))", "\"a\" stands in the archive twice"),
        (
            "make(dict(name='a', data=b'1'), dict(name='a/b', data=b'2'))",
            "goes through \"a\", which is no folder"
        ),
        ("make()", "the archive is empty"),
        ("open('a.tar.gz','wb').write(b'hello')", "not a whole gzip file"),
        ("open('a.tar.gz','wb').write(b'')", "ends in the middle"),
        ("open('a.tar.gz','wb').write(gzip.compress(b'x'*2000))", "a header's checksum is wrong"),
        (
            "make(dict(name='a', data=b'x'*50000)); b=open('a.tar.gz','rb').read(); open('a.tar.gz','wb').write(b[:-20])",
            "ends in the middle"
        ),
        (
            "make(dict(name='a', data=b'x')); b=bytearray(open('a.tar.gz','rb').read()); b[-6]^=1; open('a.tar.gz','wb').write(b)",
            "not a whole gzip file: incorrect data check"
        ),
        ("make(dict(name='\\udcff', data=b'1'), form=tarfile.USTAR_FORMAT)", "not UTF-8"),
    ])
    func `what is damaged is refused and nothing stays behind`(_ script: String, _ message: String) throws {
        try withTemporaryFolder { folder in
            try make(script, in: folder)
            let error = #expect(throws: ArchiveError.self) {
                try ArchiveReader.unpack(
                    folder.appending(path: "a.tar.gz"),
                    into: folder.appending(path: "out")
                )
            }
            #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["a.tar.gz"])
        }
    }

    @Test(arguments: [
        ("make(dict(name='bomb', data=b'\\0'*(80<<20)))", "unpacks to more than 64 MiB"),
        (
            "make(*[dict(name='f%d'%i, data=b'\\0'*(1<<20)) for i in range(80)])",
            "unpacks to more than 64 MiB"
        ),
        ("make(*[dict(name='f%d'%i) for i in range(1001)])", "more than 1000 files"),
        ("make(*[dict(name='d', type=tarfile.DIRTYPE) for i in range(1001)])", "more than 1000 files"),
        ("make(dict(name='/'.join('d'*65)))", "more than 64 folders deep"),
        ("make(dict(name='/'.join(['d'*100]*11)))", "longer than 1024 bytes"),
        ("make(dict(name='d'*300))", "a name of more than 255 bytes"),
        (
            "make(dict(name='x', type=b'x', data=b'\\0'*(1<<20)))", "a header of more than 65536 bytes"
        ),
        (
            "make(*[dict(name='g', type=b'g', data=b'52 comment=' + b'x'*40 + b'\\n') for i in range(9000)])",
            "more headers than"
        ),
        (
            "make(dict(name='a', data=b'1')); b=gzip.decompress(open('a.tar.gz','rb').read()); open('a.tar.gz','wb').write(gzip.compress(b+b'\\0'*(40<<20)))",
            "goes on behind its end"
        ),
    ])
    func `an archive bomb stops at the limits and nothing stays behind`(
        _ script: String,
        _ message: String
    ) throws {
        let limits = ArchiveLimits(unpackedBytes: 64 << 20, entries: 1000, pathBytes: 1024, depth: 64)
        try withTemporaryFolder { folder in
            try make(script, in: folder)
            let error = #expect(throws: ArchiveError.self) {
                try ArchiveReader.unpack(
                    folder.appending(path: "a.tar.gz"),
                    into: folder.appending(path: "out"),
                    limits: limits
                )
            }
            #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["a.tar.gz"])
        }
    }

    @Test func `a size that lies is refused before the disk fills`() throws {
        try withTemporaryFolder { folder in
            try make(
                """
                entry = tarfile.TarInfo('a'); entry.size = 1 << 50
                open('a.tar.gz','wb').write(gzip.compress(entry.tobuf(tarfile.GNU_FORMAT) + b'x' * 512))
                """,
                in: folder
            )
            let error = #expect(throws: ArchiveError.self) {
                try ArchiveReader.unpack(
                    folder.appending(path: "a.tar.gz"),
                    into: folder.appending(path: "out")
                )
            }
            #expect(error?.code == .tooLarge)
        }
    }

    @Test(arguments: ["gnu", "pax", "ustar", "v7"])
    func `archives of GNU tar in its formats are read`(_ format: String) throws {
        try withTemporaryFolder { folder in
            let long = format == "gnu" || format == "pax" ? String(repeating: "l", count: 200) : "l"
            let files = ["main.ts": "1", "src/a/b.ts": "2", "src/\(long)": "3"]
            try folder.appending(path: "app").write(files)
            try FileManager.default.createSymbolicLink(
                atPath: folder.appending(path: "app/link").path,
                withDestinationPath: "./src/a/b.ts"
            )
            let made = try run(
                "tar",
                ["--format=\(format)", "-czf", "../a.tar.gz", "."],
                in: folder.appending(path: "app")
            )
            try #require(made.status == 0)
            _ = try ArchiveReader.unpack(
                folder.appending(path: "a.tar.gz"),
                into: folder.appending(path: "out")
            )
            #expect(
                try folder.appending(path: "out").files() == files.merging(["link": "-> ./src/a/b.ts"]) { $1 }
            )
        }
    }

    @Test func `special mode bits, owners and times are not taken over`() throws {
        try withTemporaryFolder { folder in
            try make(
                "make(dict(name='s', data=b'1', mode=0o6777), dict(name='t', data=b'1', mode=0o600))",
                in: folder
            )
            _ = try ArchiveReader.unpack(
                folder.appending(path: "a.tar.gz"),
                into: folder.appending(path: "out")
            )
            func mode(_ name: String) throws -> Int? {
                try FileManager.default.attributesOfItem(atPath: folder.appending(path: "out/\(name)").path)[
                    .posixPermissions
                ] as? Int
            }
            #expect(try mode("s") == 0o755)
            #expect(try mode("t") == 0o644)
        }
    }

    @Test func `a folder that is there is not touched`() throws {
        try withTemporaryFolder { folder in
            try make("make(dict(name='a', data=b'1'))", in: folder)
            try folder.write(["out/mine": "1"])
            #expect(throws: ArchiveError.self) {
                try ArchiveReader.unpack(
                    folder.appending(path: "a.tar.gz"),
                    into: folder.appending(path: "out")
                )
            }
            #expect(try folder.appending(path: "out").files() == ["mine": "1"])
        }
    }

    @Test(arguments: 0..<150)
    func `a damaged archive is an error or a smaller app, never a crash or a file outside`(
        _ seed: UInt64
    ) throws {
        var random = SeededGenerator(seed: seed)
        try withTemporaryFolder { folder in
            let app = folder.appending(path: "app")
            try app.write(["main.ts": "hello", "src/a.ts": String(repeating: "x", count: 3000), "b": ""])
            try FileManager.default.createSymbolicLink(
                atPath: app.appending(path: "link").path,
                withDestinationPath: "src/a.ts"
            )
            #expect(try run("tar", ["-cf", "a.tar", "-C", "app", "."], in: folder).status == 0)
            var bytes = Array(try Data(contentsOf: folder.appending(path: "a.tar")))
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                let index = Int.random(in: 0..<min(bytes.count, 8192), using: &random)
                bytes[index] = UInt8.random(in: 0...255, using: &random)
            }
            // Checksums are made right again, so that the damage reaches the code behind them.
            for block in stride(from: 0, to: bytes.count - 511, by: 512)
            where bytes[block + 257] == UInt8(ascii: "u") {
                let sum = (0..<512).reduce(0) {
                    $0 + ((148..<156).contains($1) ? 32 : Int(bytes[block + $1]))
                }
                let octal = String(sum, radix: 8)
                let text = String(repeating: "0", count: 6 - octal.count) + octal + "\0 "
                bytes.replaceSubrange((block + 148)..<(block + 156), with: Array(text.utf8))
            }
            try Data(bytes).write(to: folder.appending(path: "a.tar"))
            #expect(try run("gzip", ["a.tar"], in: folder).status == 0)
            let before = Set(try FileManager.default.contentsOfDirectory(atPath: folder.path))
            do {
                _ = try ArchiveReader.unpack(
                    folder.appending(path: "a.tar.gz"),
                    into: folder.appending(path: "out")
                )
            } catch is ArchiveError {}
            let after = Set(try FileManager.default.contentsOfDirectory(atPath: folder.path))
            #expect(after.subtracting(before).isSubset(of: ["out"]), "seed \(seed)")
        }
    }
}
