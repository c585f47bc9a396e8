import NIOCore
import SwiftProtobuf

/// One message with gRPC's frame around it: a byte that says "not compressed", the length, the message.
///
/// It lets SwiftProtobuf write into and read from a `ByteBuffer` without a copy.
struct MessageFrame: SwiftProtobufContiguousBytes {
    static let headerBytes = 5

    var buffer: ByteBuffer

    init(repeating byte: UInt8, count: Int) {
        buffer = ByteBuffer()
        buffer.reserveCapacity(count + Self.headerBytes)
        buffer.writeInteger(UInt8(0))
        buffer.writeInteger(UInt32(truncatingIfNeeded: count))
        buffer.writeRepeatingByte(byte, count: count)
    }

    init(_ sequence: some Sequence<UInt8>) {
        let bytes = Array(sequence)
        self.init(repeating: 0, count: 0)
        buffer.setInteger(UInt32(truncatingIfNeeded: bytes.count), at: 1)
        buffer.writeBytes(bytes)
    }

    /// The frame that starts the buffer, or nil when it isn't whole or is compressed.
    init?(received buffer: ByteBuffer) {
        guard buffer.getInteger(at: buffer.readerIndex, as: UInt8.self) == 0,
            let count = buffer.getInteger(at: buffer.readerIndex + 1, as: UInt32.self),
            let frame = buffer.getSlice(at: buffer.readerIndex, length: Int(count) + Self.headerBytes)
        else { return nil }
        self.buffer = frame
    }

    var count: Int { buffer.readableBytes - Self.headerBytes }

    func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        try buffer.withUnsafeReadableBytes {
            try body(UnsafeRawBufferPointer(rebasing: $0[Self.headerBytes...]))
        }
    }

    mutating func withUnsafeMutableBytes<Result>(
        _ body: (UnsafeMutableRawBufferPointer) throws -> Result
    ) rethrows -> Result {
        try buffer.withUnsafeMutableReadableBytes {
            try body(UnsafeMutableRawBufferPointer(rebasing: $0[Self.headerBytes...]))
        }
    }
}
