import Foundation
@testable import OpenTelemetry
import Testing

struct TelemetrySettingsTests {
    private func read(_ environment: [String: String]) -> TelemetrySettings.Reading {
        TelemetrySettings.read(environment, service: "martlet")
    }

    @Test(arguments: [
        [:], ["OTEL_EXPORTER_OTLP_ENDPOINT": " "], ["OTEL_TRACES_EXPORTER": "none"],
        ["OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1", "OTEL_SDK_DISABLED": "TRUE"],
        ["OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1", "OTEL_TRACES_EXPORTER": "none"],
    ])
    func `nothing is sent unasked`(_ environment: [String: String]) {
        #expect(read(environment) == .init(settings: nil, warnings: []))
    }

    @Test func `standards are those of the specification`() throws {
        let settings = try #require(read(["OTEL_TRACES_EXPORTER": "otlp"]).settings)
        #expect(settings.endpoint.absoluteString == "http://localhost:4318/v1/traces")
        #expect(settings.service == "martlet")
        #expect(settings.sampler == Sampler(ratio: 1, followsParent: true))
        #expect(settings.delay == .seconds(5) && settings.timeout == .seconds(10))
        #expect(settings.queueLimit == 2048 && settings.batchLimit == 512)
    }

    @Test func `every variable is honoured`() throws {
        let reading = read([
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/", "OTEL_SERVICE_NAME": "birds",
            "OTEL_RESOURCE_ATTRIBUTES": "service.name=no,zone=a%2Cb, rack = 7",
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20x,a=1",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "a=2", "OTEL_EXPORTER_OTLP_TIMEOUT": "250",
            "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5",
            "OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_BSP_MAX_QUEUE_SIZE": "10",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4",
        ])
        let settings = try #require(reading.settings)
        #expect(reading.warnings == [])
        #expect(settings.endpoint.absoluteString == "http://collector:4318/v1/traces")
        #expect(settings.service == "birds")
        #expect(settings.resource == ["zone": "a,b", "rack": "7"])
        #expect(settings.headers == ["authorization": "Bearer x", "a": "2"])
        #expect(settings.timeout == .milliseconds(250) && settings.delay == .milliseconds(100))
        #expect(settings.sampler == Sampler(ratio: 0.5, followsParent: false))
        #expect(settings.queueLimit == 10 && settings.batchLimit == 4)
    }

    @Test func `the endpoint of traces is taken as it is`() {
        let reading = read(["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://a/in?x=1"])
        #expect(reading.settings?.endpoint.absoluteString == "https://a/in?x=1")
    }

    @Test func `what is wrong is said, without secrets, and the rest goes on`() throws {
        let reading = read([
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1", "OTEL_EXPORTER_OTLP_HEADERS": "hush",
            "OTEL_BSP_SCHEDULE_DELAY": "soon", "OTEL_TRACES_SAMPLER": "dice",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        ])
        #expect(reading.settings?.delay == .seconds(5))
        #expect(reading.warnings.count == 4)
        #expect(!reading.warnings.joined().contains("hush"))
        #expect(read(["OTEL_EXPORTER_OTLP_ENDPOINT": "collector"]).warnings.count == 1)
        #expect(read(["OTEL_TRACES_EXPORTER": "zipkin"]).warnings.count == 1)
    }
}
