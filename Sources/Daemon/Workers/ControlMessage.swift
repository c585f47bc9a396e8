package import Foundation

/// What the host tells a worker's harness: one line of JSON each.
package enum HostMessage: Sendable {
    case start(Assignment)
    case stop(reason: StopReason, grace: Duration)
    case cron(CronOrder)

    /// A job that is to run now.
    package struct CronOrder: Codable, Sendable, Equatable {
        /// The route's expression, which the event of a plain app names too.
        package var expr: String
        /// The path of the request to make; without it the route's handler runs.
        package var path: String?
        /// Milliseconds since 1970 of the slot.
        package var scheduledTime: Int
        /// Comes back with the answer.
        package var id: String
    }

    /// The app that a worker is given.
    package struct Assignment: Codable, Sendable, Equatable {
        package var app: String
        package var version: String
        /// Paths as the worker sees them.
        package var main: String
        package var data: String
        package var env: [String: String]
        package var limits: Limits

        /// The file with the types of the app's handlers, as the worker sees it.
        package var schema: String?
        /// Errors are told in the answers.
        package var develop: Bool?
        /// Where the app answers, for links that it makes.
        package var publicURL: String?

        package struct Limits: Codable, Sendable, Equatable {
            package var requestTimeoutMs: Int
            package var startTimeoutMs: Int
            package var waitUntilMs: Int

            package init(requestTimeout: Duration, startTimeout: Duration, waitUntil: Duration) {
                requestTimeoutMs = requestTimeout.milliseconds
                startTimeoutMs = startTimeout.milliseconds
                waitUntilMs = waitUntil.milliseconds
            }
        }

        package init(
            app: String,
            version: String,
            main: String,
            data: String,
            env: [String: String],
            publicURL: String?,
            limits: Limits,
            schema: String? = nil,
            develop: Bool? = nil
        ) {
            self.app = app
            self.version = version
            self.main = main
            self.data = data
            self.env = env
            self.publicURL = publicURL
            self.limits = limits
            self.schema = schema
            self.develop = develop
        }
    }

    package enum StopReason: String, Codable, Sendable {
        case sleep, deploy, move, shutdown, delete

        /// The close code for WebSockets (RFC 6455 7.4.1): 1001 is "going away", 1012 "service restart".
        package var closeCode: Int {
            switch self {
            case .deploy, .move: 1012
            case .sleep, .shutdown, .delete: 1001
            }
        }
    }

    /// The line, with its end.
    package func encoded() throws -> Data {
        let encoder = JSONEncoder()
        var line =
            switch self {
            case .start(let assignment): try encoder.encode(Typed(type: "start", content: assignment))
            case .cron(let order): try encoder.encode(Typed(type: "cron", content: order))
            case .stop(let reason, let grace):
                try encoder.encode(
                    Typed(
                        type: "stop",
                        content: Stop(
                            reason: reason,
                            closeCode: reason.closeCode,
                            graceMs: grace.milliseconds
                        )
                    )
                )
            }
        line.append(UInt8(ascii: "\n"))
        return line
    }

    private struct Stop: Encodable {
        var reason: StopReason
        var closeCode: Int
        var graceMs: Int
    }

    private struct Typed<Content: Encodable>: Encodable {
        var type: String
        var content: Content

        enum Key: CodingKey { case type }

        func encode(to encoder: any Encoder) throws {
            try content.encode(to: encoder)
            var container = encoder.container(keyedBy: Key.self)
            try container.encode(type, forKey: .type)
        }
    }
}

/// What a harness tells the host.
///
/// Unknown types are ignored, so that either side can be newer.
package enum WorkerMessage: Sendable, Equatable {
    case ready(key: String, deno: String)
    case started(Started)
    case failed(StartFailure)
    case activity(Activity)
    case stopped
    case cronDone(CronDone)

    package struct Started: Codable, Sendable, Equatable {
        package var ms: Double?
        /// The expressions of routes that run at set times.
        package var cron: [String]?
        package var routes: Int?
        package var table: [Route]?
        /// Routes whose input no type describes.
        package var unchecked: [String]?

        package struct Route: Codable, Sendable, Equatable {
            package var method: String
            package var pattern: String
            package var handler: String
            package var checked: Bool
        }
    }

    /// How a job ended.
    package struct CronDone: Codable, Sendable, Equatable {
        package var id: String
        package var ok: Bool
        package var message: String?
    }

    private struct Head: Decodable {
        var type: String
        var key: String?
        var deno: String?
    }

    /// Why an app did not start.
    package struct StartFailure: Codable, Sendable, Equatable {
        package var phase: String?
        package var message: String
        package var stack: String?
        package var file: String?
        package var line: Int?
        package var column: Int?

        /// A sentence that names the place.
        package var summary: String {
            guard let file else { return message }
            let place = [file] + [line, column].compactMap { $0.map(String.init) }
            return message.contains(file) ? message : "\(message) (\(place.joined(separator: ":")))"
        }
    }

    /// What keeps an app awake, as the harness counts it.
    package struct Activity: Codable, Sendable, Equatable {
        package var requests: Int?
        package var waitUntil: Int?
        package var webSockets: Int?

        package var isIdle: Bool { (requests ?? 0) == 0 && (waitUntil ?? 0) == 0 && (webSockets ?? 0) == 0 }
    }

    /// Reads a line; nil when it is of an unknown type, has not the harness's key, or is no message at all.
    ///
    /// `key`: what the harness sent with `ready`, before it loaded any code of the app; nil before that.
    package init?(line: some Sequence<UInt8>, key: String?) {
        let data = Data(line)
        let decoder = JSONDecoder()
        guard let head = try? decoder.decode(Head.self, from: data) else { return nil }  // Not for us.
        guard key == nil ? head.type == "ready" : head.key == key && head.type != "ready" else { return nil }
        switch head.type {
        case "ready": self = .ready(key: head.key ?? "", deno: head.deno ?? "")
        case "started":
            // All of it is optional.
            self = .started((try? decoder.decode(Started.self, from: data)) ?? Started())
        case "failed":
            // Without details it is a failure too.
            let failure = try? decoder.decode(StartFailure.self, from: data)
            self = .failed(failure ?? StartFailure(message: "the app did not start"))
        case "activity":
            guard let activity = try? decoder.decode(Activity.self, from: data) else { return nil }
            self = .activity(activity)
        case "stopped": self = .stopped
        case "cronDone":
            guard let done = try? decoder.decode(CronDone.self, from: data) else { return nil }
            self = .cronDone(done)
        default: return nil
        }
    }
}

extension Duration {
    /// Whole milliseconds, rounded down.
    package var milliseconds: Int {
        Int(components.seconds) * 1000 + Int(components.attoseconds / 1_000_000_000_000_000)
    }

    /// Seconds with their fraction.
    package var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
