import Control
import Foundation
import Glibc
import Hummingbird
import NIOCore
import NIOPosix

/// Writes the bodies of uploads to files as they arrive, within the limit.
struct UploadReceiver: Sendable {
    let folder: URL
    let maximumBytes: Int

    /// Makes the folder and removes what an earlier run has left in it.
    func prepare() throws {
        try FileManager.default.createDirectory(
            at: folder,
            withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700]
        )
        for name in try FileManager.default.contentsOfDirectory(atPath: folder.path)
        where name.hasSuffix(".upload") {
            try FileManager.default.removeItem(at: folder.appending(path: name))
        }
    }

    /// Takes a body to its end.
    ///
    /// - Returns: The file, which the caller removes.
    /// - Throws: ``MartletError`` with code `too_large`, `disk_full` or `bad_request`; then no file stays behind.
    func receive(_ request: Request) async throws -> URL {
        if let length = request.headers[.contentLength].flatMap(Int.init), length > maximumBytes {
            throw tooLarge(length)
        }
        let file = folder.appending(path: "\(UUID().uuidString).upload")
        let descriptor = open(file.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw systemError("make a file for the upload") }
        defer { close(descriptor) }
        do {
            var received = 0
            for try await chunk in request.body {
                received += chunk.readableBytes
                guard received <= maximumBytes else { throw tooLarge(received) }
                // Writing may block, so it happens away from the threads of the connections.
                try await NIOThreadPool.singleton.runIfActive { try write(chunk, to: descriptor) }
            }
            guard received > 0 else {
                throw MartletError(
                    .badRequest,
                    "the upload is empty; send a .tar.gz of the app's folder as the body"
                )
            }
        } catch {
            unlink(file.path)
            throw error
        }
        return file
    }

    private func write(_ chunk: ByteBuffer, to descriptor: CInt) throws {
        try chunk.withUnsafeReadableBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = Glibc.write(
                    descriptor,
                    UnsafeRawBufferPointer(rebasing: rest).baseAddress,
                    rest.count
                )
                if count < 0, errno == EINTR { continue }
                guard count >= 0 else { throw systemError("write the upload to disk") }
                rest = rest.dropFirst(count)
            }
        }
    }

    private func tooLarge(_ bytes: Int) -> MartletError {
        MartletError(
            .tooLarge,
            "the upload is larger than \(ByteCount.format(maximumBytes)); leave out what the app does not need "
                + "with .martletignore"
        )
    }

    private func systemError(_ action: String) -> MartletError {
        let number = errno
        let isFull = number == ENOSPC || number == EDQUOT
        return MartletError(
            isFull ? .diskFull : .internal,
            "\(action): \(String(cString: strerror(number)))"
                + (isFull ? "; make room on the host and deploy again" : "")
        )
    }
}
