import Foundation
public import Metrics
import Synchronization

/// Keeps the program's metrics and writes them in Prometheus's text format 0.0.4
/// (https://prometheus.io/docs/instrumenting/exposition_formats/).
public final class PrometheusRegistry: MetricsFactory {
    struct Key: Hashable {
        let name: String
        let labels: [String]
    }

    private struct State {
        var counters: [Key: PrometheusCounter] = [:]
        var gauges: [Key: PrometheusGauge] = [:]
        var histograms: [Key: PrometheusHistogram] = [:]
    }

    private let state = Mutex(State())

    /// Upper bounds of the histograms of times, in seconds.
    static let bounds: [Double] = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
    ]

    public init() {}

    public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        let key = Self.key(label, dimensions)
        return state.withLock { state in
            let counter = state.counters[key] ?? PrometheusCounter()
            state.counters[key] = counter
            return counter
        }
    }

    public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        gauge(label, dimensions)
    }

    public func makeRecorder(
        label: String,
        dimensions: [(String, String)],
        aggregate: Bool
    ) -> any RecorderHandler {
        guard aggregate else { return gauge(label, dimensions) }
        return histogram(label, dimensions)
    }

    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        histogram(label + "_seconds", dimensions)
    }

    // What is made stays, as a counter that vanishes and starts anew would confuse the reader of its rate.
    public func destroyCounter(_: any CounterHandler) {}
    public func destroyMeter(_: any MeterHandler) {}
    public func destroyRecorder(_: any RecorderHandler) {}
    public func destroyTimer(_: any TimerHandler) {}

    /// All metrics as text.
    public func render() -> String {
        let (counters, gauges, histograms) = state.withLock { ($0.counters, $0.gauges, $0.histograms) }
        var text = ""
        Self.write(counters, "counter", into: &text) { key, counter, text in
            text += "\(key.name)\(Self.braces(key.labels)) \(counter.value)\n"
        }
        Self.write(gauges, "gauge", into: &text) { key, gauge, text in
            text += "\(key.name)\(Self.braces(key.labels)) \(Self.number(gauge.value))\n"
        }
        Self.write(histograms, "histogram", into: &text) { key, histogram, text in
            let values = histogram.values
            var total = 0
            for (bound, count) in zip(Self.bounds.map(Self.number) + ["+Inf"], values.counts) {
                total += count
                text += "\(key.name)_bucket\(Self.braces(key.labels + ["le=\"\(bound)\""])) \(total)\n"
            }
            text += "\(key.name)_sum\(Self.braces(key.labels)) \(Self.number(values.sum))\n"
            text += "\(key.name)_count\(Self.braces(key.labels)) \(total)\n"
        }
        return text
    }

    private func gauge(_ label: String, _ dimensions: [(String, String)]) -> PrometheusGauge {
        let key = Self.key(label, dimensions)
        return state.withLock { state in
            let gauge = state.gauges[key] ?? PrometheusGauge()
            state.gauges[key] = gauge
            return gauge
        }
    }

    private func histogram(_ label: String, _ dimensions: [(String, String)]) -> PrometheusHistogram {
        let key = Self.key(label, dimensions)
        return state.withLock { state in
            let histogram = state.histograms[key] ?? PrometheusHistogram(bounds: Self.bounds)
            state.histograms[key] = histogram
            return histogram
        }
    }

    private static func write<Metric>(
        _ metrics: [Key: Metric],
        _ kind: String,
        into text: inout String,
        _ line: (Key, Metric, inout String) -> Void
    ) {
        var last: String?
        for (key, metric) in metrics.sorted(by: {
            ($0.key.name, $0.key.labels.joined()) < ($1.key.name, $1.key.labels.joined())
        }) {
            if key.name != last { text += "# TYPE \(key.name) \(kind)\n" }
            last = key.name
            line(key, metric, &text)
        }
    }

    private static func key(_ label: String, _ dimensions: [(String, String)]) -> Key {
        let labels = dimensions.sorted { $0.0 < $1.0 }.map { name, value in
            let escaped = value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing(
                "\n",
                with: "\\n"
            )
            return "\(legal(name))=\"\(escaped)\""
        }
        return Key(name: legal(label), labels: labels)
    }

    private static func legal(_ name: String) -> String {
        String(name.map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") ? $0 : "_" })
    }

    private static func braces(_ labels: [String]) -> String {
        labels.isEmpty ? "" : "{\(labels.joined(separator: ","))}"
    }

    private static func number(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? "\(Int(value))" : "\(value)"
    }
}
