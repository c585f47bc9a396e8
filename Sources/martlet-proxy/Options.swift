import Proxy

/// What the arguments say.
struct Options {
    var configuration = ProxyConfiguration()
    private var routes: [String: RouteDecision] = [:]
    private var otherwise = RouteDecision.unknown

    var router: NameRouter { NameRouter(routes, otherwise: otherwise) }

    static let usage = """
        usage: martlet-proxy --listen ADDRESS:PORT … [--route NAME=UPSTREAM] … [--upstream UPSTREAM]
                             [--loops N] [--processors 0,1] [--access-log FILE] [--proxy-protocol] [--trust-forwarded]
        UPSTREAM is unix:PATH or ADDRESS:PORT; --upstream takes the names that no --route names.
        """

    init(_ arguments: some Sequence<String>) throws(UsageError) {
        var rest = Array(arguments)[...]
        var listeners: [ProxyConfiguration.Listener] = []
        var expectsProxyProtocol = false
        var trustsForwardedFields = false
        while let argument = rest.popFirst() {
            switch argument {
            case "--listen": listeners.append(try Self.listener(try Self.value(of: argument, &rest)))
            case "--upstream":
                otherwise = .forward(try Self.upstream("default", try Self.value(of: argument, &rest)))
            case "--route": try addRoute(try Self.value(of: argument, &rest))
            case "--loops":
                configuration.loops = try Self.number(argument, try Self.value(of: argument, &rest))
            case "--processors":
                configuration.processors = try Self.value(of: argument, &rest).split(separator: ",").map {
                    (text) throws(UsageError) in try Self.number(argument, String(text))
                }
            case "--access-log": configuration.accessLog = .file(path: try Self.value(of: argument, &rest))
            case "--proxy-protocol": expectsProxyProtocol = true
            case "--trust-forwarded": trustsForwardedFields = true
            default: throw UsageError("unknown argument \(argument)\n\(Self.usage)")
            }
        }
        guard !listeners.isEmpty else { throw UsageError("nothing to listen on\n\(Self.usage)") }
        configuration.listeners = listeners.map { listener in
            var listener = listener
            listener.expectsProxyProtocol = expectsProxyProtocol
            listener.trustsForwardedFields = trustsForwardedFields
            return listener
        }
    }

    private mutating func addRoute(_ text: String) throws(UsageError) {
        guard let mark = text.firstIndex(of: "=") else {
            throw UsageError("--route \(text): write NAME=UPSTREAM")
        }
        let name = String(text[..<mark])
        routes[name] = .forward(try Self.upstream(name, String(text[text.index(after: mark)...])))
    }

    private static func value(
        of argument: String,
        _ rest: inout ArraySlice<String>
    ) throws(UsageError) -> String {
        guard let value = rest.popFirst() else { throw UsageError("\(argument) needs a value\n\(usage)") }
        return value
    }

    private static func number(_ argument: String, _ text: String) throws(UsageError) -> Int {
        guard let number = Int(text), number >= 0 else {
            throw UsageError("\(argument) \(text): that is not a number")
        }
        return number
    }

    private static func listener(_ text: String) throws(UsageError) -> ProxyConfiguration.Listener {
        let (address, port) = try addressAndPort(text)
        return ProxyConfiguration.Listener(address: address, port: port)
    }

    private static func upstream(_ name: String, _ text: String) throws(UsageError) -> Upstream {
        let app = App(name: name)
        if text.hasPrefix("unix:") {
            return Upstream(app: app, address: .unix(path: String(text.dropFirst(5))))
        }
        let (address, port) = try addressAndPort(text)
        return Upstream(app: app, address: .tcp(host: address, port: port))
    }

    private static func addressAndPort(_ text: String) throws(UsageError) -> (String, UInt16) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            throw UsageError("\(text): write ADDRESS:PORT")
        }
        var address = String(text[..<colon])
        if address.hasPrefix("[") && address.hasSuffix("]") {
            address = String(address.dropFirst().dropLast())
        }
        return (address.isEmpty ? "127.0.0.1" : address, port)
    }
}

/// The arguments cannot be followed.
struct UsageError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
