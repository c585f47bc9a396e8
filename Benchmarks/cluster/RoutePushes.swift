import Control
import Foundation

/// How long the slicer takes to push routes, out of its history in Temporal, whose server stamps every event.
///
/// Counted from the moment when the slicer is told that an app is placed to the end of `publish` on each host.
struct RoutePushes {
    private struct History: Decodable { var events: [Event] }

    private struct Event: Decodable {
        struct Signal: Decodable { var signalName: String }
        struct Scheduled: Decodable {
            struct Kind: Decodable { var name: String }
            var activityType: Kind
        }
        struct Completed: Decodable { var scheduledEventId: String }

        var eventId: String
        var eventTime: String
        var workflowExecutionSignaledEventAttributes: Signal?
        var activityTaskScheduledEventAttributes: Scheduled?
        var activityTaskCompletedEventAttributes: Completed?
    }

    /// Milliseconds, one for each host and change.
    var milliseconds: [Double] = []

    /// `history`: as `temporal workflow show --output json` prints it.
    init(history: Data) throws {
        /// Of the first placement that no push has begun for.
        var placed: Date?
        var pushes: [String: Date] = [:]
        var isPushed = false
        for event in try JSONDecoder().decode(History.self, from: history).events {
            guard let time = Self.time(event.eventTime) else { continue }
            if event.workflowExecutionSignaledEventAttributes?.signalName == "placed" {
                if placed == nil || isPushed { placed = time }
                isPushed = false
            } else if event.activityTaskScheduledEventAttributes?.activityType.name == "publish" {
                pushes[event.eventId] = placed
                isPushed = true
            } else if let done = event.activityTaskCompletedEventAttributes,
                let begin = pushes.removeValue(forKey: done.scheduledEventId)
            {
                milliseconds.append(time.timeIntervalSince(begin) * 1000)
            }
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
