import Proxy

@main
struct Main {
    static func main() async throws {
        let arguments = CommandLine.arguments
        guard arguments.count >= 3 else {
            print("usage: martlet-proxy PORT UPSTREAM-SOCKET [ACCESS-LOG]")
            return
        }
        var configuration = ProxyConfiguration(listeners: [.init(port: UInt16(arguments[1]) ?? 0)])
        if arguments.count > 3 { configuration.accessLog = .file(path: arguments[3]) }
        let app = App(name: "app1")
        let upstream = Upstream(app: app, address: .unix(path: arguments[2]))
        let proxy = try ProxyServer(configuration, router: NameRouter([:], otherwise: .forward(upstream)))
        try proxy.start()
        print(proxy.addresses)
        await proxy.stopped()
    }
}
