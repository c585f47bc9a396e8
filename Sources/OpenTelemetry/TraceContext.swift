package import Tracing

/// Where a span stands in its trace: what the header `traceparent` says (W3C Trace Context, level 1).
package struct SpanIdentity: Sendable, Equatable {
    /// 16 bytes, not all zero.
    package var trace: TraceID
    /// 8 bytes, not all zero.
    package var span: UInt64
    /// Whether the caller, or this program's sampler, wants the trace to be kept.
    package var isSampled: Bool
    /// What other systems have put beside it, unread.
    package var state: String?

    package struct TraceID: Sendable, Hashable {
        package var high: UInt64
        package var low: UInt64

        package init(high: UInt64, low: UInt64) {
            self.high = high
            self.low = low
        }

        package var text: String { high.paddedHex + low.paddedHex }
    }

    package init(trace: TraceID, span: UInt64, isSampled: Bool, state: String? = nil) {
        self.trace = trace
        self.span = span
        self.isSampled = isSampled
        self.state = state
    }

    /// Reads the header; nil when it is not as the standard says.
    package init?(traceparent: String, state: String?) {
        let fields = traceparent.split(separator: "-", omittingEmptySubsequences: false)
        guard fields.count >= 4, fields[0].count == 2, fields[0] != "ff", UInt8(strictHex: fields[0]) != nil,
            // Later versions may say more at the end, version 0 may not.
            fields.count == 4 || fields[0] != "00",
            fields[1].count == 32, fields[2].count == 16, fields[3].count == 2,
            let high = UInt64(strictHex: fields[1].prefix(16)),
            let low = UInt64(strictHex: fields[1].suffix(16)),
            let span = UInt64(strictHex: fields[2]), let flags = UInt8(strictHex: fields[3]),
            high | low != 0, span != 0
        else { return nil }
        self.init(
            trace: TraceID(high: high, low: low),
            span: span,
            isSampled: flags & 1 == 1,
            state: state.flatMap { $0.isEmpty || $0.utf8.count > Self.maximumStateBytes ? nil : $0 }
        )
    }

    package var traceparent: String { "00-\(trace.text)-\(span.paddedHex)-\(isSampled ? "01" : "00")" }

    /// The standard asks for 512 to be passed on; longer ones are dropped whole.
    private static let maximumStateBytes = 512
}

extension FixedWidthInteger where Self: UnsignedInteger {
    /// Small letters and digits only, as the standard wants them.
    fileprivate init?(strictHex text: Substring) {
        guard text.utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) }) else { return nil }
        self.init(text, radix: 16)
    }
}

extension UInt64 {
    var paddedHex: String {
        let digits = String(self, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

private enum SpanIdentityKey: ServiceContextKey {
    typealias Value = SpanIdentity
    static let nameOverride: String? = "span"
}

extension ServiceContext {
    /// The span that what happens now belongs to.
    package var spanIdentity: SpanIdentity? {
        get { self[SpanIdentityKey.self] }
        set { self[SpanIdentityKey.self] = newValue }
    }
}
