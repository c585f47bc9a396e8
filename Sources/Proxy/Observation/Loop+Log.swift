import CProxy

// Lines of the access log.
extension Loop {
    /// One line for a request that is over.
    ///
    /// Paths are cut at 1,024 bytes, so that a line has a bound.
    func logRequest(
        _ exchange: Exchange,
        _ front: Front,
        _ outcome: RequestSummary.Outcome,
        _ duration: UInt64
    ) {
        log?.line(milliseconds: wallMilliseconds) { line in
            if let cell = exchange.cell {
                line.put("\",\"app\":\"")
                cell.app.jsonName.withUnsafeBufferPointer {
                    if let base = $0.baseAddress { line.put(base, $0.count) }
                }
            }
            line.put("\",\"client\":\"")
            if exchange.clientCount > 0 {
                line.put(json: exchange.raw + Int(exchange.clientStart), Int(exchange.clientCount))
            } else {
                HeadWriter.putAddress(front, into: &line)
            }
            line.put("\",\"method\":\"")
            line.put(exchange.raw + Int(exchange.methodStart), Int(exchange.methodCount))
            line.put("\",\"host\":\"")
            line.put(exchange.raw + Int(exchange.hostStart), Int(exchange.hostCount))
            line.put("\",\"path\":\"")
            if exchange.pathCount == 0 {
                line.put(byte: 0x2F)
            } else {
                line.put(json: exchange.raw + Int(exchange.pathStart), min(Int(exchange.pathCount), 1024))
            }
            line.put("\",\"status\":")
            line.put(status: exchange.status)
            line.put(",\"in\":")
            line.put(number: exchange.bytesIn)
            line.put(",\"out\":")
            line.put(number: exchange.bytesOut)
            line.put(",\"microseconds\":")
            line.put(number: Int(duration / 1000))
            line.put(",\"id\":\"")
            exchange.putRequestID(into: &line)
            line.put("\"")
            putOutcome(outcome, into: &line)
            if exchange.isTunnel { line.put(",\"tunnel\":true") }
            line.put("}\n")
        }
    }

    private func putOutcome(_ outcome: RequestSummary.Outcome, into line: inout ByteWriter) {
        switch outcome {
        case .completed: break
        case .clientLeft: line.put(",\"outcome\":\"client_left\"")
        case .clientTooSlow: line.put(",\"outcome\":\"client_too_slow\"")
        case .withheld: line.put(",\"outcome\":\"withheld\"")
        case .stopped: line.put(",\"outcome\":\"stopped\"")
        case .refused(let refusal):
            line.put(",\"outcome\":\"refused\",\"reason\":\"")
            line.put(refusal.code)
            line.put("\"")
        case .upstreamFailed(let failure):
            line.put(",\"outcome\":\"upstream_failed\",\"reason\":\"")
            line.put(failure.code)
            line.put("\"")
        }
    }

    /// A request that was not understood: nothing of it is repeated but the reason.
    func logRefused(_ front: Front, _ refusal: Refusal) {
        guard log != nil else { return }
        log?.line(milliseconds: wallMilliseconds) { line in
            line.put("\",\"client\":\"")
            HeadWriter.putAddress(front, into: &line)
            line.put("\",\"status\":")
            line.put(number: refusal.status)
            line.put(",\"outcome\":\"refused\",\"reason\":\"")
            line.put(refusal.code)
            line.put("\"}\n")
        }
    }
}
