public import TemporalAPI

public import struct Foundation.Data
import SwiftProtobuf

/// The events of one run, as the server recorded them.
public struct WorkflowHistory: Sendable {
    public var workflowID: String
    public var events: [APIHistoryEvent]

    public init(workflowID: String, events: [APIHistoryEvent] = []) {
        self.workflowID = workflowID
        self.events = events
    }

    /// A history in JSON, as `temporal workflow show --output json`, the web UI and the other SDKs write it.
    ///
    /// - Throws: a decoding error where it is none.
    public init(workflowID: String, json: Data) throws {
        var options = JSONDecodingOptions()
        options.ignoreUnknownFields = true
        self.init(
            workflowID: workflowID,
            events: try APIHistory(jsonUTF8Bytes: json, options: options).events
        )
    }

    public func json() throws -> Data {
        try APIHistory.with { $0.events = events }.jsonUTF8Data()
    }
}
