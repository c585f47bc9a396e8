import Testing

@testable import Proxy

@Suite("Exchanges")
struct ExchangeMachineTests {
    private func request(
        _ method: RequestHead.Method = .get,
        length: Int = -1,
        chunked: Bool = false,
        version10: Bool = false,
        keepsAlive: Bool = false,
        closes: Bool = false,
        upgrade: Bool = false
    ) -> ExchangeMachine {
        var head = RequestHead()
        head.method = method
        head.contentLength = length
        head.isChunked = chunked
        head.minorVersion = version10 ? 0 : 1
        head.keepsAlive = keepsAlive
        head.closes = closes || version10
        head.upgradeLine = upgrade ? 0 : -1
        return ExchangeMachine(head)
    }

    private func answer(
        _ status: Int,
        length: Int = -1,
        chunked: Bool = false,
        closes: Bool = false,
        upgrade: Bool = false
    ) -> AnswerHead {
        var head = AnswerHead()
        head.status = status
        head.contentLength = length
        head.isChunked = chunked
        head.closes = closes
        head.hasUpgrade = upgrade
        head.upgradeLine = upgrade ? 0 : -1
        return head
    }

    @Test func `a plain exchange keeps both connections`() {
        var machine = request()
        #expect(machine.request == .sent)
        #expect(machine.answerHead(answer(200, length: 0)) == .answer)
        #expect(machine.answer == .complete)
        #expect(machine.reusesUpstream)
        #expect(machine.clientEnd == .next)
    }

    @Test func `an upstream that closes is not used again, and the client is kept`() {
        var machine = request()
        _ = machine.answerHead(answer(200, length: 0, closes: true))
        #expect(!machine.reusesUpstream)
        #expect(machine.clientEnd == .next)
    }

    @Test func `an answer to the end of the connection ends both`() {
        var machine = request()
        #expect(machine.answerHead(answer(200)) == .answer)
        #expect(machine.answer == .streaming)
        #expect(machine.upstreamEnded() == .complete)
        #expect(!machine.reusesUpstream)
        #expect(machine.clientEnd == .close)
    }

    @Test func `answers without a body are complete with their head`() {
        var head = request(.head)
        _ = head.answerHead(answer(200, length: 100))
        #expect(head.answer == .complete)
        for status in [204, 304] {
            var machine = request()
            _ = machine.answerHead(answer(status, length: 100))
            #expect(machine.answer == .complete)
        }
    }

    @Test func `an early answer leaves the upstream and lets the client finish`() {
        var machine = request(.post, length: 10)
        _ = machine.answerHead(answer(413, length: 0))
        #expect(machine.answer == .complete)
        #expect(!machine.reusesUpstream)
        #expect(machine.clientEnd == .discardRest)
    }

    @Test func `a request is sent again only when that is safe`() {
        for (method, isReused, isReplayable, isAnswered, isReplayed) in [
            (RequestHead.Method.get, true, true, false, true), (.put, true, true, false, true),
            (.post, true, true, false, false), (.other, true, true, false, false),
            (.get, false, true, false, false),
            (.get, true, false, false, false), (.get, true, true, true, false),
        ] {
            var machine = request(method)
            machine.isReusedUpstream = isReused
            machine.isReplayable = isReplayable
            if isAnswered { machine.answerBytesArrived() }
            #expect(machine.upstreamEnded() == (isReplayed ? .replay : .fail(.closedBeforeAnswer)))
        }
    }

    @Test func `an answer that stops in its middle cuts the client`() {
        var machine = request()
        _ = machine.answerHead(answer(200, length: 10))
        #expect(machine.upstreamEnded() == .cut)
        #expect(machine.clientEnd == .close)
    }

    @Test func `a tunnel begins only where one was asked for`() {
        var asked = request(upgrade: true)
        #expect(asked.answerHead(answer(101, upgrade: true)) == .tunnel)
        #expect(asked.upstreamEnded() == .endTunnel)
        var unasked = request()
        #expect(unasked.answerHead(answer(101, upgrade: true)) == .fail(.malformedAnswer))
        var bare = request(upgrade: true)
        #expect(bare.answerHead(answer(101)) == .fail(.malformedAnswer))
        var refused = request(upgrade: true)
        #expect(refused.answerHead(answer(426, length: 0)) == .answer)
        #expect(refused.clientEnd == .next)
    }

    @Test func `interim answers reach only clients that know them`() {
        var machine = request(.post, length: 5)
        #expect(machine.answerHead(answer(100)) == .inform(isForwarded: true))
        #expect(machine.answer == .awaiting)
        var old = request(version10: true)
        #expect(old.answerHead(answer(103)) == .inform(isForwarded: false))
        var odd = request()
        #expect(odd.answerHead(answer(103, length: 5)) == .fail(.malformedAnswer))
    }

    @Test func `an old client gets no chunks and is told when it is kept`() {
        var machine = request(version10: true, keepsAlive: true)
        #expect(machine.tellsKeepAlive)
        _ = machine.answerHead(answer(200, chunked: true))
        #expect(machine.decodesChunks)
        #expect(machine.clientEnd == .close)
    }
}

@Suite("Timer wheel")
struct TimerWheelTests {
    @Test(arguments: [UInt64(1), 2, 3]) func `entries come up when they are due, and never early`(
        seed: UInt64
    ) {
        var numbers = SeededNumbers(seed: seed)
        var wheel = TimerWheel(now: 1)
        // What an owner notes: the deadline of each entry, which may move later without telling the wheel.
        var deadlines: [Int32: UInt64] = [:]
        var now: UInt64 = 1
        var due: [Int32] = []
        for _ in 0..<20_000 {
            let entry = Int32.random(in: 0..<200, using: &numbers)
            switch Int.random(in: 0..<10, using: &numbers) {
            case 0..<5:
                let deadline = now + UInt64.random(in: 1...2000, using: &numbers)
                deadlines[entry] = deadline
                wheel.schedule(entry, at: deadline)
            case 5:
                deadlines[entry] = nil
                wheel.cancel(entry)
            default:
                let next = wheel.nextTick
                now += UInt64.random(in: 1...50, using: &numbers)
                due.removeAll()
                wheel.advance(to: now, into: &due)
                #expect(due.isEmpty || (next ?? .max) <= now, "seed \(seed)")
                for entry in due {
                    guard let deadline = deadlines[entry] else { continue }
                    if deadline <= now { deadlines[entry] = nil } else { wheel.schedule(entry, at: deadline) }
                }
                #expect(deadlines.values.allSatisfy { $0 > now }, "seed \(seed): an entry was late")
            }
        }
        #expect(wheel.count == deadlines.count)
    }

    @Test func `a jump over many turns brings up everything`() {
        var wheel = TimerWheel(now: 1)
        for entry in Int32(0)..<100 { wheel.schedule(entry, at: UInt64(entry) * 5 + 2) }
        var due: [Int32] = []
        wheel.advance(to: 1_000_000, into: &due)
        #expect(Set(due).count == 100)
        #expect(wheel.nextTick == nil)
    }
}

@Suite("Names and numbers")
struct SmallPartsTests {
    @Test func `whole names are compared`() {
        let entries = Dictionary(uniqueKeysWithValues: (0..<5000).map { ("App\($0).localhost", $0) })
        let table = NameTable(entries)
        for index in [0, 17, 4999] {
            #expect(Array("app\(index).localhost".utf8).withUnsafeBufferPointer { table[$0] } == index)
        }
        for name in ["app5000.localhost", "app1.localhos", "app1.localhost.", ""] {
            #expect(Array(name.utf8).withUnsafeBufferPointer { table[$0] } == nil)
        }
    }

    @Test func `a bucket holds what its bound says`() {
        for value in [0, 1, 3, 4, 5, 7, 8, 100, 1000, 1_000_000, 3_600_000_000] as [UInt64] {
            let bucket = LatencyHistogram.bucket(of: value)
            #expect(value <= LatencyHistogram.upperBound(of: bucket))
            #expect(bucket == 0 || value > LatencyHistogram.upperBound(of: bucket - 1))
        }
    }

    @Test func `a PROXY header is read whole or not at all`() {
        let v4: [UInt8] =
            [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10, 0x21, 0x11, 0, 12]
            + [10, 1, 2, 3, 127, 0, 0, 1, 0x30, 0x39, 0, 80]
        func scan(_ bytes: [UInt8]) -> ProxyHeader.Scan {
            bytes.withUnsafeBufferPointer {
                $0.baseAddress.map { ProxyHeader.scan($0, bytes.count) } ?? .incomplete
            }
        }
        #expect(scan(v4) == .complete(ProxyHeader(length: 28, address: "10.1.2.3", port: 12345)))
        for cut in 1..<v4.count { #expect(scan(Array(v4[..<cut])) == .incomplete) }
        var version1 = v4
        version1[12] = 0x11
        #expect(scan(version1) == .refused)
        var short = v4
        short[15] = 8
        #expect(scan(short) == .refused)
        #expect(scan(Array("GET / HTTP/1.1\r\n".utf8)) == .refused)
        var local = v4
        local[12] = 0x20
        #expect(scan(local) == .complete(ProxyHeader(length: 28, address: "", port: 0)))
    }

    @Test func `hexadecimal digits are those of the number`() {
        var numbers = SeededNumbers(seed: 5)
        for _ in 0..<1000 {
            let value = numbers.next()
            var bytes = [UInt8](repeating: 0, count: 16)
            bytes.withUnsafeMutableBufferPointer {
                guard let base = $0.baseAddress else { return }
                var writer = ByteWriter(base)
                writer.put(hex: value)
            }
            let plain = String(value, radix: 16)
            #expect(
                String(decoding: bytes, as: UTF8.self) == String(repeating: "0", count: 16 - plain.count)
                    + plain
            )
        }
    }
}
