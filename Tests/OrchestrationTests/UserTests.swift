import Control
import Foundation
import TemporalTesting
import Testing

@testable import Orchestration

@Suite("Users of a cluster")
struct UserTests {
    @Test func `quotas are kept, and a refusal says how much there is`() throws {
        var state = UserState(user: try UserID(validating: "ada"), createdAt: Date())
        state.quotas = Account.Quotas(apps: 2, bytes: 1000)
        let apps = try ["a", "b", "c"].map { try ApplicationID(validating: $0) }
        try state.claim(apps[0], UserState.Claim(bytes: 400, cpu: 0))
        try state.claim(apps[1], UserState.Claim(bytes: 500, cpu: 0))
        #expect(throws: MartletError.self) { try state.claim(apps[2], UserState.Claim(bytes: 1, cpu: 0)) }
        #expect(throws: MartletError.self) { try state.claim(apps[0], UserState.Claim(bytes: 501, cpu: 0)) }
        // A new version takes the place of the one before.
        try state.claim(apps[0], UserState.Claim(bytes: 500, cpu: 0))
        state.release(apps[1])
        try state.claim(apps[2], UserState.Claim(bytes: 500, cpu: 0))
        #expect(state.account.usedBytes == 1000)
    }

    @Test func `tokens tell whose they are, and are kept as hashes`() throws {
        var random = SplitMix(state: 1)
        let user = try UserID(validating: "ada-l")
        let token = try UserToken.make(for: user, using: &random)
        #expect(UserToken.user(of: token) == user)
        #expect(UserToken.user(of: "martlet_" + String(repeating: "a", count: 52)) == nil)
        #expect(UserToken.user(of: "martlet__" + String(repeating: "a", count: 52)) == nil)
        // SHA-256 of "abc", FIPS 180-4.
        #expect(UserToken.hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    }

    @Test(.timeLimit(.minutes(3))) func `cores that apps ask for count against their owner's quota`()
        async throws
    {
        try await ClusterFixture.with(hosts: 1) { cluster in
            let user = try UserID(validating: "ada")
            _ = try await cluster.service.setAccount(user, quotas: Account.Quotas(cpu: 2))
            try await cluster.deploy("small", settings: #"{ "limits": { "cpu": 0.5 } }"#, owner: user)
            // Without a word it is one core.
            try await cluster.deploy("usual", owner: user)
            await #expect { try await cluster.deploy("large", owner: user) } throws: {
                ($0 as? MartletError)?.code == .quotaExceeded
            }
            try await cluster.deploy("tiny", settings: #"{ "limits": { "cpu": 0.5 } }"#, owner: user)
        }
    }

    @Test(.timeLimit(.minutes(3))) func `a token lets its user in until it is removed`() async throws {
        try await ClusterFixture.with(hosts: 1) { cluster in
            let user = try UserID(validating: "ada")
            let token = try await cluster.service.addToken(to: user, name: "laptop")
            let register = AccountRegister(client: cluster.client)
            #expect(await register.user(presenting: token.token) == user)
            #expect(await register.user(presenting: token.token + "a") == nil)
            let account = try await cluster.service.setAccount(user, quotas: Account.Quotas(apps: 0))
            #expect(account.tokens.map(\.id) == [token.id])
            await #expect { try await cluster.deploy("app", owner: user) } throws: {
                ($0 as? MartletError)?.code == .quotaExceeded
            }
            try await cluster.service.removeToken(token.id, of: user)
            #expect(await AccountRegister(client: cluster.client).user(presenting: token.token) == nil)
        }
    }
}
