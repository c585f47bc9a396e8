import Foundation

extension HostFixture {
    /// Opens a WebSocket with Python's `websockets`, sends a text and reads until one holds `until`.
    ///
    /// The client connects to the address itself, as not every machine resolves names below `localhost`.
    func webSocket(_ app: String, _ path: String, send: String?, until: String) async throws -> String {
        let script = """
            import socket, sys
            from websockets.sync.client import connect
            port, uri, text, until = sys.argv[1:]
            with connect(uri, sock=socket.create_connection(("127.0.0.1", int(port)), 30)) as chat:
                if text: chat.send(text)
                while True:
                    message = chat.recv(timeout=30)
                    print(message)
                    if until in message: break
            """
        let python = HostFixture.source.appending(path: ".tools/test/bin/python")
        let uri = "ws://\(app).localhost:\(try port)\(path)"
        let result = try await run(python, ["-c", script, "\(try port)", uri, send ?? "", until])
        guard result.status == 0 else {
            throw Failure("the WebSocket failed: \(result.output) \(result.errors)")
        }
        return result.output
    }
}
