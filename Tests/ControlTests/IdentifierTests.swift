import Control
import Testing

struct IdentifierTests {
    @Test(arguments: ["a", "guestbook", "my-app-2", "9lives", String(repeating: "x", count: 63)])
    func `a DNS label names an app`(_ name: String) throws {
        #expect(try ApplicationID(validating: name).rawValue == name)
    }

    @Test(arguments: [
        "", "-a", "a-", "A", "a_b", "a.b", "a b", "ä", "../etc", "a/b", "a\0b",
        String(repeating: "x", count: 64),
    ])
    func `anything else does not name an app`(_ name: String) {
        let error = #expect(throws: MartletError.self) { try ApplicationID(validating: name) }
        #expect(error?.code == .badRequest)
        #expect(error?.message.contains("1 to 63 of a-z") == true)
    }
}
