import Control
import Daemon
import TestSupport
import Testing

/// The pure parts of the sandbox.
@Suite struct SandboxPlanTests {
    @Test(arguments: [
        ("8.8.8.8", true), ("198.51.100.7", true), ("1.0.0.1", true), ("172.15.255.255", true),
        ("172.32.0.0", true),
        ("100.63.255.255", true), ("100.128.0.0", true), ("0.0.0.0", false), ("10.0.0.1", false),
        ("100.64.0.1", false),
        ("127.0.0.1", false), ("127.255.255.254", false), ("169.254.169.254", false), ("172.16.0.1", false),
        ("172.31.255.255", false), ("192.168.1.1", false), ("198.18.0.1", false), ("224.0.0.1", false),
        ("255.255.255.255", false), ("2606:4700::1111", true), ("::1", false), ("::", false),
        ("fe80::1", false),
        ("fd00::1", false), ("ff02::1", false), ("64:ff9b::a00:1", false), ("2002:a00:1::", false),
        ("2001::1", false),
        ("::ffff:10.0.0.1", false), ("::ffff:8.8.8.8", true), ("203.0.113.9", false), ("203.0.114.1", true),
    ])
    func `addresses of the public internet are allowed and no others`(text: String, isAllowed: Bool) throws {
        let rules = AddressRules(extra: [try #require(IPRange("203.0.113.0/24"))])
        #expect(rules.allows(try #require(IPAddress(text))) == isAllowed)
    }

    @Test func `ranges and addresses that are none are refused`() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "x/8", "10.0.0.0/8/8", "::/129", "10.0.0.0/-1"] {
            #expect(IPRange(text) == nil, "\(text)")
        }
        for text in ["", "1.2.3", "1.2.3.4.5", "010.1.1.1", "1.2.3.256", "g::", "1.2.3.4 "] {
            #expect(IPAddress(text) == nil, "\(text)")
        }
    }

    @Test func `a list of names covers names and whole domains`() {
        let policy = NamePolicy(.only(["api.example.com", "*.example.org"]))
        let allowed = ["api.example.com", "a.example.org", "b.a.example.org"]
        let refused = [
            "example.com", "x.api.example.com", "example.org", "evilexample.org", "api.example.com.evil", "",
        ]
        for name in allowed { #expect(policy.allows(name), "\(name)") }
        for name in refused { #expect(!policy.allows(name), "\(name)") }
        #expect(!NamePolicy(.none).allows("example.com"))
        #expect(NamePolicy(.open).allows("example.com"))
    }

    /// A message with a question and address records.
    private static func message(
        _ name: String,
        _ type: UInt16 = 1,
        isResponse: Bool = true,
        _ addresses: [[UInt8]] = []
    ) -> [UInt8] {
        var bytes: [UInt8] = [
            0x12, 0x34, isResponse ? 0x81 : 0x01, isResponse ? 0x80 : 0, 0, 1, 0, UInt8(addresses.count),
        ]
        bytes += [0, 0, 0, 0]
        for label in name.split(separator: ".") { bytes += [UInt8(label.utf8.count)] + Array(label.utf8) }
        bytes += [0, UInt8(type >> 8), UInt8(type & 0xFF), 0, 1]
        for address in addresses {
            bytes +=
                [0xC0, 12, 0, address.count == 4 ? 1 : 28, 0, 1, 0, 0, 0, 60, 0, UInt8(address.count)]
                + address
        }
        return bytes
    }

    @Test func `answers with an address that may not be reached are dropped`() throws {
        let filter = NameFilter(policy: .open, rules: AddressRules())
        let question = try NameMessage(Self.message("Example.COM", isResponse: false)).question
        #expect(question.name == "example.com" && question.type == 1)
        #expect(filter.judge(question) == .ask)
        let good = try NameMessage(Self.message("example.com", 1, [[8, 8, 8, 8], [1, 1, 1, 1]]))
        guard case .pass(let records) = filter.judge(answer: good, to: question) else {
            Issue.record("a good answer was dropped")
            return
        }
        #expect(records.map(\.address.description) == ["8.8.8.8", "1.1.1.1"])
        #expect(records.map(\.seconds) == [60, 60])
        for addresses in [[[8, 8, 8, 8], [10, 0, 0, 1]], [[UInt8](repeating: 0, count: 15) + [1]]]
            as [[[UInt8]]]
        {
            let bad = try NameMessage(Self.message("example.com", 1, addresses))
            guard case .drop = filter.judge(answer: bad, to: question) else {
                Issue.record("\(addresses) passed")
                continue
            }
        }
        // An answer to something else is no answer.
        let other = try NameMessage(Self.message("example.net", 1, [[8, 8, 8, 8]]))
        guard case .drop = filter.judge(answer: other, to: question) else {
            Issue.record("an answer to another question passed")
            return
        }
        let pointer = try NameMessage(Self.message("1.0.0.10.in-addr.arpa", 12, isResponse: false)).question
        #expect(filter.judge(pointer) == .answer(.notImplemented, reason: nil))
        let answer = try NameMessage(
            NameMessage(Self.message("example.com", isResponse: false)).answer(.noSuchName)
        )
        #expect(answer.isResponse && answer.code == 3 && answer.id == 0x1234)
    }

    @Test func `messages that are cut or changed at random never do harm`() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        let whole = Self.message("a.example.com", 1, [[8, 8, 8, 8], [UInt8](repeating: 7, count: 16)])
        for _ in 0..<20_000 {
            var bytes = Array(whole.prefix(Int.random(in: 0...whole.count, using: &generator)))
            for _ in 0..<Int.random(in: 0...4, using: &generator) where !bytes.isEmpty {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(
                    in: 0...255,
                    using: &generator
                )
            }
            guard let message = try? NameMessage(bytes) else { continue }
            let count = (try? message.addresses())?.count ?? 0
            #expect(count <= 5000, "seed \(seed)")
            _ = message.answer(.refused)
        }
    }

    @Test func `the rules of a gateway name every range`() throws {
        let rules = AddressRules(extra: [try #require(IPRange("203.0.113.0/24"))])
        let text = NetworkRuleset.gateway(rules, NetworkLimits(), resolver: NetworkGateway.address)
        for range in AddressRules.denied4 + AddressRules.denied6 + rules.extra {
            #expect(text.contains("\(range)"), "\(range)")
        }
    }

    @Test func `the end of a worker has one cause and the same code for callers and the log`() {
        var facts = EndCause.Facts()
        facts.end = .killed(signal: 9)
        facts.memoryLimitBytes = 64 << 20
        #expect(EndCause(facts).code == "worker_ended")
        facts.processRefusals = 3
        #expect(EndCause(facts).code == "too_many_processes")
        facts.lastOutput = "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory"
        #expect(EndCause(facts).code == "worker_out_of_memory")
        facts.outOfMemoryKills = 1
        #expect(EndCause(facts) == .outOfMemory(limitBytes: 64 << 20))
        facts.order = .requestTimeout(.seconds(3))
        #expect(EndCause(facts).code == "request_timeout" && EndCause(facts).status == 504)
        #expect(EndCause(facts).summary.contains("3 s"))
    }

    @Test func `a folder over its limit may shrink and not grow`() {
        let limit = DiskUsage(bytes: 100 << 20, files: 1000)
        var plan = DiskPlan(limit: limit, start: DiskUsage(bytes: 0, files: 0), now: .zero)
        /// Measures, and says whether it is too much.
        func isOver(
            _ plan: inout DiskPlan,
            _ bytes: Int,
            _ files: Int,
            took: Duration,
            at now: Duration
        ) -> Bool {
            plan.measured(DiskUsage(bytes: bytes, files: files), took: took, now: now)
        }
        #expect(plan.isDue(.zero))
        let atLimit = isOver(&plan, 100 << 20, 1000, took: .milliseconds(1), at: .zero)
        #expect(!atLimit && !plan.isDue(.milliseconds(249)) && plan.isDue(.milliseconds(250)))
        let tooManyBytes = isOver(&plan, (100 << 20) + 1, 1, took: .milliseconds(1), at: .seconds(1))
        let tooManyFiles = isOver(&plan, 1, 1001, took: .milliseconds(500), at: .seconds(2))
        #expect(tooManyBytes && tooManyFiles)
        // Measuring takes a twentieth of the time at most.
        #expect(!plan.isDue(.seconds(11)) && plan.isDue(.seconds(12)))
        var full = DiskPlan(limit: limit, start: DiskUsage(bytes: 200 << 20, files: 10), now: .zero)
        let results = [(200 << 20, 10), (203 << 20, 10), (210 << 20, 10), (1, 1001)].map {
            isOver(&full, $0, $1, took: .zero, at: .zero)
        }
        #expect(results == [false, false, true, true])
    }
}
