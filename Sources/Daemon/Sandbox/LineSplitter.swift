/// Cuts a stream of bytes into lines.
///
/// A line that is longer than the limit comes in pieces.
package struct LineSplitter: Sendable {
    private let maximumBytes: Int
    private var rest: [UInt8] = []

    package init(maximumBytes: Int) { self.maximumBytes = maximumBytes }

    /// Takes the next bytes and calls `body` with each line, without its end.
    package mutating func feed(_ bytes: UnsafeRawBufferPointer, _ body: (ArraySlice<UInt8>) -> Void) {
        rest.append(contentsOf: bytes)
        var start = 0
        while let end = rest[start...].firstIndex(of: UInt8(ascii: "\n")) {
            emit(start, end, body)
            start = end + 1
        }
        while rest.count - start > maximumBytes {
            body(rest[start..<start + maximumBytes])
            start += maximumBytes
        }
        rest.removeFirst(start)
    }

    /// The stream has ended: what is left is a line too.
    package mutating func finish(_ body: (ArraySlice<UInt8>) -> Void) {
        if !rest.isEmpty { emit(0, rest.count, body) }
        rest = []
    }

    private func emit(_ start: Int, _ end: Int, _ body: (ArraySlice<UInt8>) -> Void) {
        var start = start
        while end - start > maximumBytes {
            body(rest[start..<start + maximumBytes])
            start += maximumBytes
        }
        body(rest[start..<end])
    }
}
