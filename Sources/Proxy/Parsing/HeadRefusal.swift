/// Why a request was refused before anything was sent to an upstream.
public enum Refusal: UInt8, Sendable, CaseIterable {
    case malformedStartLine
    case malformedMethod
    case malformedTarget
    case unsupportedVersion
    case bareLineFeed
    case controlCharacter
    case foldedField
    case malformedFieldName
    case malformedContentLength
    case severalContentLengths
    case lengthAndTransferEncoding
    case malformedTransferEncoding
    case unknownTransferEncoding
    case missingHost
    case severalHosts
    case malformedHost
    case hostAndTargetDiffer
    case nominatedFramingField
    case malformedChunk
    case forbiddenTrailer
    case connectNotSupported
    case unknownExpectation
    case targetTooLong
    case headTooLarge
    case tooManyFields
    case bodyTooLarge
    case headTimeout
    case bodyTimeout
    case malformedProxyHeader
    /// On a listener for peers: without the group's secret.
    case peerUnauthenticated
    case malformedPeerField

    /// The status of the answer.
    public var status: Int {
        switch self {
        case .unsupportedVersion: 505
        case .unknownTransferEncoding, .connectNotSupported: 501
        case .unknownExpectation: 417
        case .targetTooLong: 414
        case .headTooLarge, .tooManyFields: 431
        case .bodyTooLarge: 413
        case .headTimeout, .bodyTimeout: 408
        case .peerUnauthenticated: 401
        default: 400
        }
    }

    /// A word for programs.
    public var code: StaticString {
        switch self {
        case .malformedStartLine: "malformed_request_line"
        case .malformedMethod: "malformed_method"
        case .malformedTarget: "malformed_target"
        case .unsupportedVersion: "unsupported_version"
        case .bareLineFeed: "bare_line_feed"
        case .controlCharacter: "control_character"
        case .foldedField: "folded_field"
        case .malformedFieldName: "malformed_field_name"
        case .malformedContentLength: "malformed_content_length"
        case .severalContentLengths: "several_content_lengths"
        case .lengthAndTransferEncoding: "length_and_transfer_encoding"
        case .malformedTransferEncoding: "malformed_transfer_encoding"
        case .unknownTransferEncoding: "unknown_transfer_encoding"
        case .missingHost: "missing_host"
        case .severalHosts: "several_hosts"
        case .malformedHost: "malformed_host"
        case .hostAndTargetDiffer: "host_and_target_differ"
        case .nominatedFramingField: "nominated_field"
        case .malformedChunk: "malformed_chunk"
        case .forbiddenTrailer: "forbidden_trailer"
        case .connectNotSupported: "connect_not_supported"
        case .unknownExpectation: "unknown_expectation"
        case .targetTooLong: "target_too_long"
        case .headTooLarge: "head_too_large"
        case .tooManyFields: "too_many_fields"
        case .bodyTooLarge: "body_too_large"
        case .headTimeout: "head_timeout"
        case .bodyTimeout: "body_timeout"
        case .malformedProxyHeader: "malformed_proxy_header"
        case .peerUnauthenticated: "peer_unauthenticated"
        case .malformedPeerField: "malformed_peer_field"
        }
    }

    /// A sentence for people: what was wrong and what to do.
    public var message: StaticString {
        switch self {
        case .malformedStartLine: "The first line is not `METHOD target HTTP/1.1`."
        case .malformedMethod: "The method is not a token of at most 32 characters."
        case .malformedTarget:
            "The target is neither a path nor a full http address, or has characters that must be percent-encoded."
        case .unsupportedVersion: "Only HTTP/1.1 and HTTP/1.0 are spoken on this connection."
        case .bareLineFeed: "A line ends in LF alone; lines end in CR LF."
        case .controlCharacter: "The head has a control character."
        case .foldedField: "A header line begins with white space; folded lines are not accepted."
        case .malformedFieldName:
            "A header name is empty, has a character that is not allowed, or white space before its colon."
        case .malformedContentLength: "Content-Length is not a plain decimal number."
        case .severalContentLengths: "Content-Length was sent more than once."
        case .lengthAndTransferEncoding: "Content-Length and Transfer-Encoding were both sent."
        case .malformedTransferEncoding:
            "Transfer-Encoding was sent more than once, or by an HTTP/1.0 client."
        case .unknownTransferEncoding: "The only transfer encoding that is understood is `chunked`."
        case .missingHost: "The Host header is missing."
        case .severalHosts: "The Host header was sent more than once."
        case .malformedHost: "The Host header is not a name or address with an optional port."
        case .hostAndTargetDiffer: "The Host header and the host in the target differ."
        case .nominatedFramingField: "The Connection header names a header that must reach the app."
        case .malformedChunk: "The chunked body is malformed."
        case .forbiddenTrailer: "The trailer has a header that may only stand in the head."
        case .connectNotSupported: "This is not a forward proxy: CONNECT is not supported."
        case .unknownExpectation: "The only expectation that is understood is `100-continue`."
        case .targetTooLong: "The target is too long."
        case .headTooLarge: "The request's head is too large."
        case .tooManyFields: "The request has too many header lines."
        case .bodyTooLarge: "The request's body is too large."
        case .headTimeout: "The request's head did not arrive in time."
        case .bodyTimeout: "The request's body did not arrive in time."
        case .malformedProxyHeader: "The connection did not begin with a PROXY protocol v2 header."
        case .peerUnauthenticated:
            "This address is for the hosts of the cluster: the request lacks their secret. Use the public address."
        case .malformedPeerField: "Peer-Hops or Peer-Generation is not a number."
        }
    }
}
