/// An answer that is made before it is needed.
public final class ReadyAnswer: Sendable {
    public let status: Int

    /// The status line and header lines, without the empty line.
    let head: [UInt8]
    let body: [UInt8]

    /// Header lines that are not valid, and those that concern the connection, are left out.
    public init(status: Int, headers: [(name: String, value: String)] = [], body: [UInt8] = []) {
        self.status = min(max(status, 200), 599)
        self.body = body
        var head = Array("HTTP/1.1 \(self.status) \(reasonPhrase(of: self.status))\r\n".utf8)
        for (name, value) in headers
        where !["connection", "content-length", "transfer-encoding", "upgrade"].contains(name.lowercased()) {
            head += renderField(name: name, value: value)
        }
        if self.status != 204 && self.status != 304 {
            head += Array("Content-Length: \(body.count)\r\n".utf8)
        }
        self.head = head
    }

    /// An error for programs and people: `{"error":{"code":…,"message":…}}`.
    public static func error(
        status: Int,
        code: String,
        message: String,
        retryAfterSeconds: Int? = nil
    ) -> ReadyAnswer {
        var headers = [
            (name: "Content-Type", value: "application/json"), (name: "Cache-Control", value: "no-store"),
        ]
        if let seconds = retryAfterSeconds { headers.append((name: "Retry-After", value: String(seconds))) }
        let body =
            Array("{\"error\":{\"code\":\"".utf8) + jsonText(code) + Array("\",\"message\":\"".utf8)
            + jsonText(message)
            + Array("\"}}\n".utf8)
        return ReadyAnswer(status: status, headers: headers, body: body)
    }
}

/// The usual words for a status (RFC 9110 15).
func reasonPhrase(of status: Int) -> String {
    switch status {
    case 200: "OK"
    case 201: "Created"
    case 202: "Accepted"
    case 204: "No Content"
    case 301: "Moved Permanently"
    case 302: "Found"
    case 303: "See Other"
    case 304: "Not Modified"
    case 307: "Temporary Redirect"
    case 308: "Permanent Redirect"
    case 400: "Bad Request"
    case 401: "Unauthorized"
    case 403: "Forbidden"
    case 404: "Not Found"
    case 405: "Method Not Allowed"
    case 408: "Request Timeout"
    case 409: "Conflict"
    case 413: "Content Too Large"
    case 414: "URI Too Long"
    case 417: "Expectation Failed"
    case 421: "Misdirected Request"
    case 429: "Too Many Requests"
    case 431: "Request Header Fields Too Large"
    case 500: "Internal Server Error"
    case 501: "Not Implemented"
    case 502: "Bad Gateway"
    case 503: "Service Unavailable"
    case 504: "Gateway Timeout"
    case 505: "HTTP Version Not Supported"
    case 507: "Insufficient Storage"
    case 508: "Loop Detected"
    default: "Status \(status)"
    }
}
