import Control
import Foundation

/// How long the slicer takes to push routes, out of its history in Temporal, whose server stamps every event.
///
/// Counted from the first thing that the slicer was told (a signal, an update, or what a host uses) since it last decided, to
/// the end of `publish` on each host.
struct RoutePushes {
    private struct History: Decodable { var events: [Event] }

    private struct Event: Decodable {
        struct Signal: Decodable { var signalName: String }
        struct Update: Decodable { var protocolInstanceId: String }
        struct Scheduled: Decodable {
            struct Kind: Decodable { var name: String }
            var activityType: Kind
        }
        struct Completed: Decodable { var scheduledEventId: String }
        struct Decided: Decodable {}

        var eventId: String
        var eventTime: String
        var workflowExecutionSignaledEventAttributes: Signal?
        var workflowExecutionUpdateAcceptedEventAttributes: Update?
        var workflowTaskCompletedEventAttributes: Decided?
        var activityTaskScheduledEventAttributes: Scheduled?
        var activityTaskCompletedEventAttributes: Completed?
    }

    /// Milliseconds, one for each host and change.
    var milliseconds: [Double] = []

    /// `history`: as `temporal workflow show --output json` prints it.
    init(history: Data) throws {
        /// When the slicer heard of what it pushes next.
        var told: Date?
        var hasDecided = false
        var pushes: [String: Date] = [:]
        for event in try JSONDecoder().decode(History.self, from: history).events {
            guard let time = Self.time(event.eventTime) else { continue }
            var isNews =
                event.workflowExecutionSignaledEventAttributes != nil
                || event.workflowExecutionUpdateAcceptedEventAttributes != nil
            if event.activityTaskScheduledEventAttributes?.activityType.name == "publish" {
                pushes[event.eventId] = told ?? time
            } else if event.workflowTaskCompletedEventAttributes != nil {
                hasDecided = true
            } else if let done = event.activityTaskCompletedEventAttributes {
                if let begin = pushes.removeValue(forKey: done.scheduledEventId) {
                    milliseconds.append(time.timeIntervalSince(begin) * 1000)
                } else {
                    isNews = true
                }
            }
            guard isNews else { continue }
            if hasDecided || told == nil { told = time }
            hasDecided = false
        }
    }

    /// Times with nine digits of a second, as the server writes them.
    private static func time(_ text: String) -> Date? {
        guard let dot = text.firstIndex(of: "."), let end = text.lastIndex(of: "Z"),
            let fraction = Double("0" + text[dot..<end])
        else { return try? Date.ISO8601FormatStyle().parse(text) }
        // Another shape than this is left out.
        let seconds = try? Date.ISO8601FormatStyle().parse(text[..<dot] + "Z")
        return seconds?.addingTimeInterval(fraction)
    }
}
