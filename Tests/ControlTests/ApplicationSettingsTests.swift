import Control
import TestSupport
import Testing

struct ApplicationSettingsTests {
    @Test func `an empty object gives the defaults`() throws {
        #expect(try ApplicationSettings(parsing: "{}") == ApplicationSettings())
    }

    @Test func `every key is read, with comments and trailing commas`() throws {
        let settings = try ApplicationSettings(
            parsing: """
                // An app.
                {
                  "$schema": "https://example.com/martlet.json",
                  "name": "guestbook",
                  "main": "src/main.ts", /* not the default */
                  "env": { "GREETING": "h\\u00e9llo \\ud83d\\udc26", },
                  "limits": { "memory": "128MiB", "cpu": 0.5, "requestTimeout": "1m30s", "disk": 1000000000 },
                  "sleepAfter": 30,
                  "durability": "gated",
                  "cron": [{ "schedule": "0  4 * * mon-fri", "path": "/sweep", "catchUp": "skip" }],
                  "network": ["api.example.com", "*.Example.org"],
                }
                """
        )
        #expect(
            settings
                == ApplicationSettings(
                    name: try ApplicationID(validating: "guestbook"),
                    main: "src/main.ts",
                    env: ["GREETING": "héllo 🐦"],
                    limits: ApplicationSettings.Limits(
                        memoryBytes: 128 << 20,
                        cpu: 0.5,
                        requestTimeout: .seconds(90),
                        diskBytes: 1_000_000_000
                    ),
                    sleepAfter: .after(.seconds(30)),
                    durability: .gated,
                    cron: [
                        ApplicationSettings.CronEntry(
                            schedule: "0 4 * * mon-fri",
                            path: "/sweep",
                            catchUp: .skip
                        )
                    ],
                    network: .only(["api.example.com", "*.example.org"])
                )
        )
    }

    @Test(arguments: [
        (
            "{\n  \"durability\": \"sometimes\"\n}",
            "martlet.json:2:17: \"durability\" is \"sometimes\"; allowed: \"gated\", \"async\""
        ),
        (
            "{ \"sleepafter\": 3 }",
            "martlet.json:1:3: unknown key \"sleepafter\"; did you mean \"sleepAfter\"? allowed: name, main, "
        ),
        (
            "{ \"limits\": { \"ram\": 3 } }",
            "martlet.json:1:15: unknown key \"ram\" in \"limits\"; allowed: memory, cpu, requestTimeout, disk"
        ),
        (
            "{ \"limits\": { \"memory\": \"1KB\" } }",
            "1:25: \"memory\" is \"1KB\"; allowed: a size such as \"128MiB\" or \"1GB\", from 32 MiB to 64 GiB"
        ),
        (
            "{ \"sleepAfter\": \"soon\" }",
            "1:17: \"sleepAfter\" is \"soon\"; allowed: a duration such as \"500ms\", \"30s\", \"5m\" or \"1h\", from 100 ms to 7 d; or \"never\""
        ),
        ("{ \"name\": \"My App\" }", "1:11: \"My App\" cannot be an app's name"),
        ("{ \"name\": \"api\" }", "1:11: \"api\" is a reserved name"),
        (
            "{ \"main\": \"../x.ts\" }",
            "1:11: \"main\" is \"../x.ts\"; allowed: a path inside the app's folder"
        ),
        ("{ \"main\": \"main.py\" }", "allowed: a path inside the app's folder"),
        ("{ \"env\": { \"A\": 1 } }", "1:17: \"A\" is 1; allowed: a string"),
        ("{ \"env\": { \"MARTLET_DATA\": \"x\" } }", "1:12: MARTLET_DATA is set by the platform itself"),
        ("{ \"env\": { \"1A\": \"x\" } }", "\"1A\" cannot name a variable"),
        (
            "{ \"cron\": [{ \"schedule\": \"0 25 * * *\", \"path\": \"/\" }] }",
            "1:26: \"25\" is no hour; allowed: *, 0 to 23"
        ),
        (
            "{ \"cron\": [{ \"schedule\": \"0 4 * *\", \"path\": \"/\" }] }",
            "has 4 fields; a schedule has five"
        ),
        ("{ \"cron\": [{ \"path\": \"/\" }] }", "1:12: \"schedule\" is missing"),
        (
            "{ \"network\": [\"127.0.0.1\"] }",
            "1:15: \"network\" is \"127.0.0.1\"; allowed: \"open\", \"none\", or an array of host names"
        ),
        ("{ \"network\": \"all\" }", "allowed: \"open\", \"none\""),
        ("[]", "martlet.json:1:1: \"martlet.json\" is an array; allowed: an object"),
        ("{ \"name\": \"a\" \n \"main\": \"b\" }", "1:14: expected , or } here, found \"\"\""),
        ("{ \"name\": 'a' }", "strings stand in double quotes"),
        ("{ name: 1 }", "expected a key in double quotes or }, found \"n\""),
        ("{ \"name\": \"a\", \"name\": \"b\" }", "1:16: \"name\" stands twice; the first is on line 1"),
        ("{ \"name\": \"a", "1:11: this string has no end"),
        ("{ /* \n\n }", "1:3: this comment has no end"),
        ("{ \"a\": [1, 2", "1:8: this array has no end: ] is missing"),
        ("{} {}", "1:4: expected the end of the file"),
        ("{ \"limits\": { \"cpu\": 01 } }", "01 is no JSON number"),
        ("{ \"name\": \"\\ud800\" }", "half of a surrogate pair"),
        ("", "1:1: expected a value, found the end of the file"),
    ])
    func `a mistake is named with its line and what is allowed`(_ text: String, _ message: String) {
        let error = #expect(throws: MartletError.self) { try ApplicationSettings(parsing: text) }
        #expect(error?.code == .invalidSettings)
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
    }

    @Test func `deep nesting is refused, not a crash`() {
        let text = String(repeating: "[", count: 100_000)
        let error = #expect(throws: MartletError.self) { try ApplicationSettings(parsing: text) }
        #expect(error?.message.contains("nested more than 64 deep") == true)
    }

    @Test(arguments: 0..<200)
    func `damaged text never crashes the parser and errors name a place in it`(_ seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let text = """
            { "name": "guestbook", "main": "main.ts", "env": { "A": "\\u00e9" }, "limits": { "cpu": 1.5e0 }, // x
              "cron": [{ "schedule": "*/5 * * * *", "path": "/x" }], "network": ["a.example"] }
            """
        var scalars = Array(text.unicodeScalars)
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            let index = Int.random(in: scalars.indices, using: &random)
            if Bool.random(using: &random) {
                scalars.remove(at: index)
            } else {
                scalars[index] =
                    Array("{}[]\",:/*\\u0 -e\n\0é".unicodeScalars).randomElement(using: &random) ?? "x"
            }
        }
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        do {
            _ = try ApplicationSettings(parsing: String(view))
        } catch {
            #expect(error.message.hasPrefix("martlet.json:"), "seed \(seed)")
        }
    }
}
