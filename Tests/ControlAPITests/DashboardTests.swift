import Control
import Foundation
import Testing

struct DashboardTests {
    private let page = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../../Runtime/dashboard/index.html").standardizedFileURL

    @Test func `browsers get the dashboard and programs the text`() async throws {
        try await APIFixture.with(dashboard: page) { api in
            let shown = try await api.curl("/", "-i", "-H", "Accept: text/html,*/*;q=0.8")
            #expect(shown.status == 200)
            #expect(shown.body.contains("<title>Martlet</title>"))
            #expect(shown.body.lowercased().contains("content-security-policy: default-src 'none'"))
            #expect(shown.body.lowercased().contains("frame-ancestors 'none'"))
            #expect(!shown.body.contains(api.token.secret))
            #expect(try await api.curl("/").body.contains("Martlet 1.2.3 is running"))
        }
    }

    @Test func `the page needs nothing from elsewhere`() throws {
        let text = try String(contentsOf: page, encoding: .utf8)
        #expect(!text.replacing("http://www.w3.org/2000/svg", with: "").contains(/https?:\/\/[a-z]/))
        #expect(text.utf8.count < 30_000)
    }

    @Test(.enabled(if: APIFixture.browser != nil, "no browser is installed (Debian: chromium)"))
    func `a browser with the token sees the apps, one without is asked for it`() async throws {
        let browser = try #require(APIFixture.browser)
        let app = try ApplicationID(validating: "guestbook")
        try await APIFixture.with(dashboard: page) { api in
            api.service.add(app)
            let board = try await api.browse("/#token=\(api.token.secret)", with: browser)
            #expect(board.contains(#"<span class="state asleep">asleep</span>"#))
            #expect(board.contains(#"href="http://guestbook.localhost/""#))
            #expect(board.contains("<b>1</b><span>app</span>"))
            #expect(!board.contains(api.token.secret))
            let chosen = try await api.browse("/#app=guestbook&token=\(api.token.secret)", with: browser)
            #expect(chosen.contains("<h2>guestbook</h2>"))
            #expect(chosen.contains(">Take into use</button>"))
            let stranger = try await api.browse("/#token=wrong", with: browser)
            #expect(stranger.contains("this token is not valid here"))
            #expect(!stranger.contains("guestbook"))
        }
    }
}
