import CProxy

// Requests from and to proxies of the same group: who may send them, and what is said beside them.
extension Loop {
    /// Why a request on a peers' listener is not taken; the head is in `head` and `requestTable`.
    func refusal(of peers: PeerGroup, _ bytes: Bytes) -> Refusal? {
        var isKnown = false
        for index in 0..<head.pointee.fieldCount {
            let line = requestTable.lines[index]
            switch line.kind {
            case .peerAuthorization:
                // Two would be one too many, whatever they say.
                guard !isKnown,
                    peers.isSecret(bytes + Int(line.valueStart), Int(line.valueEnd - line.valueStart))
                else { return .peerUnauthenticated }
                isKnown = true
            case .peerHops, .peerGeneration:
                guard let number = parseLength(bytes, Int(line.valueStart), Int(line.valueEnd)),
                    line.kind != .peerHops || (1...99).contains(number)
                else { return .malformedPeerField }
            default: break
            }
        }
        return isKnown ? nil : .peerUnauthenticated
    }

    /// How many proxies of the group have sent the request on.
    func peerHops(_ front: Front, _ bytes: Bytes) -> Int {
        guard front.peers != nil else { return 0 }
        return head.pointee.peerNumber(.peerHops, bytes, requestTable) ?? 1
    }

    /// What a peer's answer says to this proxy; its lines are dropped.
    ///
    /// A refusal means that nothing was done with the request.
    func takePeerLines(
        _ peers: PeerGroup,
        _ upstream: Upstream,
        _ answer: AnswerHead,
        _ bytes: Bytes
    )
        -> UpstreamFailure?
    {
        var failure: UpstreamFailure?
        for index in 0..<answer.fieldCount {
            let line = answerTable.lines[index]
            guard isPeerLine(line, bytes) else { continue }
            answerTable.lines[index].isDropped = true
            let name = bytes + Int(line.start)
            let value = bytes + Int(line.valueStart)
            let valueCount = Int(line.valueEnd - line.valueStart)
            switch Int(line.nameEnd - line.start) {
            case 12 where isWord(name, "peer-refusal"):
                if isWord(value, valueCount, "too_many_hops") {
                    failure = .tooManyHops
                } else {
                    failure = isWord(value, valueCount, "unreachable") ? .refused : .misdirected
                }
            case 15 where isWord(name, "peer-generation"):
                let generation = parseLength(bytes, Int(line.valueStart), Int(line.valueEnd)) ?? 0
                if generation > peers.generation { peers.onNewerGeneration(generation, upstream) }
            default: break
            }
        }
        return failure
    }

    /// Drops what an app may say in the group's headers: nobody is to believe it.
    func dropPeerLines(_ answer: AnswerHead, _ bytes: Bytes) {
        for index in 0..<answer.fieldCount where isPeerLine(answerTable.lines[index], bytes) {
            answerTable.lines[index].isDropped = true
        }
    }

    private func isPeerLine(_ line: FieldLine, _ bytes: Bytes) -> Bool {
        line.kind == .other && line.nameEnd - line.start > 5 && isWord(bytes + Int(line.start), "peer-")
    }

    /// Which picture of the routes an answer tells a peer of; 0 for none.
    @inline(__always)
    func generationToTell(_ front: Front, _ exchange: Exchange) -> Int {
        guard let peers = front.peers else { return 0 }
        let generation = peers.generation
        return generation > exchange.peerGeneration ? generation : 0
    }

    /// What an answer to a peer says beside: a newer picture of the routes, and whether the request was handled.
    func putPeerLines(_ front: Front, _ exchange: Exchange, into writer: inout ByteWriter) {
        let generation = generationToTell(front, exchange)
        if generation > 0 { PeerGroup.putGeneration(generation, into: &writer) }
        switch exchange.outcome {
        case .upstreamFailed(.misdirected): writer.put("Peer-Refusal: misdirected\r\n")
        case .upstreamFailed(.tooManyHops): writer.put("Peer-Refusal: too_many_hops\r\n")
        default: break
        }
    }
}

extension RequestHead {
    /// The number in a line of the group's; nil where there is none.
    func peerNumber(_ kind: FieldKind, _ bytes: Bytes, _ table: FieldTable) -> Int? {
        for index in 0..<fieldCount where table.lines[index].kind == kind {
            let line = table.lines[index]
            return parseLength(bytes, Int(line.valueStart), Int(line.valueEnd))
        }
        return nil
    }
}
