@testable import OpenTelemetry
import Testing

/// Headers as in W3C Trace Context, with the cases of its own test suite that concern a receiver.
struct TraceContextTests {
    private static let trace = "0af7651916cd43dd8448eb211c80319c"
    private static let span = "b7ad6b7169203331"

    @Test func `a header is read and written the same`() throws {
        let text = "00-\(Self.trace)-\(Self.span)-01"
        let identity = try #require(SpanIdentity(traceparent: text, state: "vendor=1"))
        #expect(identity.traceparent == text)
        #expect(identity.isSampled)
        #expect(identity.state == "vendor=1")
        #expect(identity.trace.text == Self.trace)
    }

    @Test(arguments: [
        "", "00", "00-\(trace)-\(span)", "ff-\(trace)-\(span)-01", "00-\(trace)-\(span)-01-more",
        "00-\(trace.uppercased())-\(span)-01", "00-00000000000000000000000000000000-\(span)-01",
        "00-\(trace)-0000000000000000-01", "00-\(trace)-\(span)-0x", "0 -\(trace)-\(span)-01",
        "00-+af7651916cd43dd8448eb211c80319c-\(span)-01",
    ])
    func `a header that is not as the standard says is none`(_ text: String) {
        #expect(SpanIdentity(traceparent: text, state: nil) == nil)
    }

    @Test func `a later version may say more`() throws {
        let identity = try #require(
            SpanIdentity(traceparent: "01-\(Self.trace)-\(Self.span)-00-what-comes", state: nil)
        )
        #expect(!identity.isSampled)
        #expect(identity.traceparent == "00-\(Self.trace)-\(Self.span)-00")
    }

    @Test func `a sampler keeps its share, and whole traces`() {
        var generator = SystemRandomNumberGenerator()
        let sampler = Sampler(ratio: 0.25, followsParent: true)
        var kept = 0
        for _ in 0..<10_000 {
            let trace = SpanIdentity.TraceID(high: generator.next(), low: generator.next())
            let isKept = sampler.keeps(trace, parent: nil)
            #expect(isKept == sampler.keeps(trace, parent: nil))
            if isKept { kept += 1 }
            for isSampled in [true, false] {
                let parent = SpanIdentity(trace: trace, span: 1, isSampled: isSampled)
                #expect(sampler.keeps(trace, parent: parent) == isSampled)
            }
        }
        // Eight standard deviations around 2,500.
        #expect((2150...2850).contains(kept), "\(kept)")
    }
}
