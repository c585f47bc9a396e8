import Temporal
import TemporalAPI
import TemporalTesting
import Testing

@Suite struct `Connection` {
    @Test func `a real server answers`() async throws {
        try await TestServer.with { server in
            let connection = server.connection()
            let info = try await connection.connect()
            #expect(info.serverVersion.hasPrefix("1."))
            await connection.close()
        }
    }

    @Test func `a server that is not there is named in the error`() async throws {
        let connection = TemporalConnection(.init(port: 1))
        let error = await #expect(throws: RPCError.self) {
            try await connection.connect(timeout: .seconds(1))
        }
        #expect(error?.code == .unavailable)
        #expect(error?.message.contains("could not connect to Temporal at 127.0.0.1:1") == true)
    }
}
