package import Foundation

/// What the environment variables of OpenTelemetry ask for (specification of OpenTelemetry 1.40, "Environment Variable
/// Specification" and "OTLP Exporter").
///
/// Traces are sent only where an endpoint is named or `OTEL_TRACES_EXPORTER=otlp` is set: a program that runs on a
/// machine of its own talks to nobody unasked.
package struct TelemetrySettings: Sendable, Equatable {
    package var service: String
    package var resource: [String: String]
    /// Where traces are posted, whole.
    package var endpoint: URL
    package var headers: [String: String]
    /// For one request.
    package var timeout: Duration
    package var sampler: Sampler
    /// The longest time between the end of a span and its sending.
    package var delay: Duration
    package var queueLimit: Int
    package var batchLimit: Int

    /// What was understood, and what a person has to know of the rest.
    package struct Reading: Sendable, Equatable {
        /// Nil when no traces are to be sent.
        package var settings: TelemetrySettings?
        package var warnings: [String]
    }

    /// `service`: the name where the variables give none.
    package static func read(_ environment: [String: String], service: String) -> Reading {
        var reader = Reader(environment: environment)
        let settings = reader.settings(service)
        return Reading(settings: settings, warnings: reader.warnings)
    }

    private struct Reader {
        let environment: [String: String]
        var warnings: [String] = []

        /// Empty is the same as unset.
        func text(_ names: String...) -> String? {
            for name in names {
                let value = environment[name]?.trimmingCharacters(in: .whitespaces) ?? ""
                if !value.isEmpty { return value }
            }
            return nil
        }

        mutating func settings(_ service: String) -> TelemetrySettings? {
            guard text("OTEL_SDK_DISABLED")?.lowercased() != "true" else { return nil }
            let base = text("OTEL_EXPORTER_OTLP_ENDPOINT")
            let whole = text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            switch text("OTEL_TRACES_EXPORTER") {
            case "otlp": break
            case nil where base != nil || whole != nil: break
            case nil, "none": return nil
            case let other?:
                warnings.append("OTEL_TRACES_EXPORTER=\(other) is not known; there is otlp and none")
                return nil
            }
            guard let endpoint = endpoint(whole: whole, base: base) else { return nil }
            let wanted =
                text("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL") ?? "http/json"
            if wanted != "http/json" {
                warnings.append(
                    "traces are sent as http/json, not as \(wanted): give the collector's port for HTTP"
                )
            }
            var resource = pairs("OTEL_RESOURCE_ATTRIBUTES")
            let name = text("OTEL_SERVICE_NAME") ?? resource["service.name"] ?? service
            resource["service.name"] = nil
            let batch = number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, in: 1...100_000)
            return TelemetrySettings(
                service: name,
                resource: resource,
                endpoint: endpoint,
                headers: pairs("OTEL_EXPORTER_OTLP_HEADERS")
                    .merging(pairs("OTEL_EXPORTER_OTLP_TRACES_HEADERS")) { $1 },
                timeout: .milliseconds(timeout),
                sampler: sampler(),
                delay: .milliseconds(number("OTEL_BSP_SCHEDULE_DELAY", 5000, in: 1...3_600_000)),
                queueLimit: max(number("OTEL_BSP_MAX_QUEUE_SIZE", 2048, in: 1...1_000_000), batch),
                batchLimit: batch
            )
        }

        private var timeout: Int {
            mutating get {
                environment["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"] == nil
                    ? number("OTEL_EXPORTER_OTLP_TIMEOUT", 10_000, in: 1...600_000)
                    : number("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", 10_000, in: 1...600_000)
            }
        }

        private mutating func endpoint(whole: String?, base: String?) -> URL? {
            let text =
                whole
                ?? (base ?? "http://localhost:4318").trimmingCharacters(in: ["/"]) + "/v1/traces"
            guard let url = URL(string: text), let scheme = url.scheme, ["http", "https"].contains(scheme),
                url.host() != nil
            else {
                // The address may hold a password, so it is not repeated.
                warnings.append("the endpoint of OpenTelemetry is no address such as http://localhost:4318")
                return nil
            }
            return url
        }

        private mutating func number(_ name: String, _ standard: Int, in range: ClosedRange<Int>) -> Int {
            guard let text = text(name) else { return standard }
            guard let value = Int(text), range.contains(value) else {
                warnings.append(
                    "\(name)=\(text) is no number from \(range.lowerBound) to \(range.upperBound)"
                )
                return standard
            }
            return value
        }

        private mutating func sampler() -> Sampler {
            let name = text("OTEL_TRACES_SAMPLER") ?? "parentbased_always_on"
            let isParentBased = name.hasPrefix("parentbased_")
            switch isParentBased ? String(name.dropFirst("parentbased_".count)) : name {
            case "always_on": return Sampler(ratio: 1, followsParent: isParentBased)
            case "always_off": return Sampler(ratio: 0, followsParent: isParentBased)
            case "traceidratio":
                let argument = text("OTEL_TRACES_SAMPLER_ARG")
                if let argument, Double(argument).map({ (0...1).contains($0) }) != true {
                    warnings.append("OTEL_TRACES_SAMPLER_ARG=\(argument) is no number from 0 to 1")
                }
                let ratio = argument.flatMap(Double.init).flatMap { (0...1).contains($0) ? $0 : nil } ?? 1
                return Sampler(ratio: ratio, followsParent: isParentBased)
            default:
                warnings.append("OTEL_TRACES_SAMPLER=\(name) is not known; every trace is kept")
                return Sampler(ratio: 1, followsParent: true)
            }
        }

        /// `key=value` by commas, values in percent encoding.
        private mutating func pairs(_ name: String) -> [String: String] {
            var pairs: [String: String] = [:]
            for part in text(name)?.split(separator: ",") ?? [] {
                let halves = part.split(separator: "=", maxSplits: 1)
                let key = halves[0].trimmingCharacters(in: .whitespaces)
                guard halves.count == 2, !key.isEmpty,
                    let value = halves[1].trimmingCharacters(in: .whitespaces).removingPercentEncoding
                else {
                    // Headers may hold secrets, so none of it is repeated.
                    warnings.append(
                        "\(name) is not of the form key=value,key=value; a part of it is not used"
                    )
                    continue
                }
                pairs[key] = value
            }
            return pairs
        }
    }
}

/// Decides which traces are kept.
package struct Sampler: Sendable, Equatable {
    /// Of the traces that begin here, from 0 to 1.
    package var ratio: Double
    /// Whether a caller's decision holds for what it calls.
    package var followsParent: Bool

    package init(ratio: Double, followsParent: Bool) {
        self.ratio = ratio
        self.followsParent = followsParent
    }

    /// The same for all spans of a trace, also in other programs with the same ratio.
    package func keeps(_ trace: SpanIdentity.TraceID, parent: SpanIdentity?) -> Bool {
        if followsParent, let parent { return parent.isSampled }
        if ratio >= 1 { return true }
        // The last 7 bytes are random by the standard's second level.
        return Double(trace.low & 0x00ff_ffff_ffff_ffff) < ratio * 0x1p56
    }
}
