package import Tracing
import Synchronization

/// A span that is sent once it has ended.
package final class RecordedSpan: Tracing.Span {
    package let context: ServiceContext
    package let identity: SpanIdentity
    let parent: UInt64?
    let kind: SpanKind
    let start: UInt64
    private let state: Mutex<State>
    private let onEnd: @Sendable (Ended) -> Void

    private struct State {
        var name: String
        var attributes: SpanAttributes = [:]
        var events: [SpanEvent] = []
        var links: [SpanLink] = []
        var status: SpanStatus?
        var isEnded = false
    }

    /// Everything of a span, which changes no more.
    struct Ended: Sendable {
        let identity: SpanIdentity
        let parent: UInt64?
        let kind: SpanKind
        let name: String
        /// In nanoseconds since 1970.
        let start: UInt64
        let end: UInt64
        let attributes: SpanAttributes
        let events: [SpanEvent]
        let links: [SpanLink]
        let status: SpanStatus?
    }

    /// A span of a handler that never ends must not grow without end.
    private static let maximumEvents = 128

    init(
        name: String,
        context: ServiceContext,
        identity: SpanIdentity,
        parent: UInt64?,
        kind: SpanKind,
        start: UInt64,
        onEnd: @escaping @Sendable (Ended) -> Void
    ) {
        var context = context
        context.spanIdentity = identity
        self.context = context
        self.identity = identity
        self.parent = parent
        self.kind = kind
        self.start = start
        self.onEnd = onEnd
        state = Mutex(State(name: name))
    }

    package var isRecording: Bool { identity.isSampled && state.withLock { !$0.isEnded } }

    package var operationName: String {
        get { state.withLock { $0.name } }
        set { change { $0.name = newValue } }
    }

    package var attributes: SpanAttributes {
        get { state.withLock { $0.attributes } }
        set { change { $0.attributes = newValue } }
    }

    package func setStatus(_ status: SpanStatus) { change { $0.status = status } }

    package func addEvent(_ event: SpanEvent) {
        change { if $0.events.count < Self.maximumEvents { $0.events.append(event) } }
    }

    package func addLink(_ link: SpanLink) {
        change { if $0.links.count < Self.maximumEvents { $0.links.append(link) } }
    }

    /// As an event named `exception` with the attributes of OpenTelemetry's conventions.
    package func recordError<Instant: TracerInstant>(
        _ error: any Error,
        attributes: SpanAttributes,
        at instant: @autoclosure () -> Instant
    ) {
        var all = attributes
        all["exception.type"] = String(reflecting: type(of: error))
        all["exception.message"] = String(describing: error)
        addEvent(SpanEvent(name: "exception", at: instant(), attributes: all))
    }

    package func end<Instant: TracerInstant>(at instant: @autoclosure () -> Instant) {
        let ended = state.withLock { state -> Ended? in
            guard !state.isEnded else { return nil }
            state.isEnded = true
            guard identity.isSampled else { return nil }
            return Ended(
                identity: identity,
                parent: parent,
                kind: kind,
                name: state.name,
                start: start,
                end: max(instant().nanosecondsSinceEpoch, start),
                attributes: state.attributes,
                events: state.events,
                links: state.links,
                status: state.status
            )
        }
        if let ended { onEnd(ended) }
    }

    private func change(_ body: (inout State) -> Void) {
        guard identity.isSampled else { return }
        state.withLock { if !$0.isEnded { body(&$0) } }
    }
}
