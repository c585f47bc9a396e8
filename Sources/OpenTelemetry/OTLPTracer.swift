package import Tracing

/// Makes spans, and carries their identity from program to program in the headers of W3C Trace Context.
package struct OTLPTracer: Tracer {
    package typealias Span = RecordedSpan

    private let sampler: Sampler
    private let buffer: SpanBuffer

    package init(sampler: Sampler, buffer: SpanBuffer) {
        self.sampler = sampler
        self.buffer = buffer
    }

    package func startSpan<Instant: TracerInstant>(
        _ operationName: String,
        context: @autoclosure () -> ServiceContext,
        ofKind kind: SpanKind,
        at instant: @autoclosure () -> Instant,
        function: String,
        file fileID: String,
        line: UInt
    ) -> RecordedSpan {
        let context = context()
        let parent = context.spanIdentity
        let trace =
            parent?.trace
            ?? SpanIdentity.TraceID(high: .random(in: 1 ... .max), low: .random(in: 1 ... .max))
        let identity = SpanIdentity(
            trace: trace,
            span: .random(in: 1 ... .max),
            // What a program asks of its store or of Temporal on its own account, by the thousand, is no trace; the
            // sending of spans would be one too.
            isSampled: parent == nil && kind == .client ? false : sampler.keeps(trace, parent: parent),
            state: parent?.state
        )
        return RecordedSpan(
            name: operationName,
            context: context,
            identity: identity,
            parent: parent?.span,
            kind: kind,
            start: instant().nanosecondsSinceEpoch,
            onEnd: { [buffer] in buffer.add($0) }
        )
    }

    package func activeSpan(identifiedBy context: ServiceContext) -> RecordedSpan? { nil }

    package func forceFlush() { buffer.wake() }

    package func extract<Carrier, Extract: Extractor>(
        _ carrier: Carrier,
        into context: inout ServiceContext,
        using extractor: Extract
    ) where Extract.Carrier == Carrier {
        guard let header = extractor.extract(key: "traceparent", from: carrier) else { return }
        let state = extractor.extract(key: "tracestate", from: carrier)
        guard let identity = SpanIdentity(traceparent: header, state: state) else { return }
        context.spanIdentity = identity
    }

    package func inject<Carrier, Inject: Injector>(
        _ context: ServiceContext,
        into carrier: inout Carrier,
        using injector: Inject
    ) where Inject.Carrier == Carrier {
        guard let identity = context.spanIdentity else { return }
        injector.inject(identity.traceparent, forKey: "traceparent", into: &carrier)
        if let state = identity.state { injector.inject(state, forKey: "tracestate", into: &carrier) }
    }
}
