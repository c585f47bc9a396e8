import Control
import Foundation

/// Files that only their owner may read.
enum SecretFile {
    /// Writes by a temporary name, synchronized, and renames: a crash leaves the old file or the new one.
    static func write(_ data: Data, to file: URL) throws {
        let temporary = file.path + ".\(getpid()).tmp"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw failure("write", file) }
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        do {
            try handle.write(contentsOf: data)
            try handle.synchronize()
        } catch {
            unlink(temporary)
            throw MartletError(.diskFull, "write \(file.path): \(error.localizedDescription)", cause: error)
        }
        guard rename(temporary, file.path) == 0 else { throw failure("write", file) }
    }

    /// The API's token in a host's folder, made at the first start.
    static func token(in folder: URL) throws -> APIToken {
        let file = folder.appending(path: "token")
        if let data = FileManager.default.contents(atPath: file.path) {
            let text = String(decoding: data, as: UTF8.self)
            do {
                return try APIToken(validating: text.trimmingCharacters(in: .whitespacesAndNewlines))
            } catch {
                throw MartletError(
                    .internal,
                    "\(file.path) holds no token; remove it, and the next start makes one"
                )
            }
        }
        var random = SystemRandomNumberGenerator()
        let token = APIToken.random(using: &random)
        try write(Data((token.secret + "\n").utf8), to: file)
        return token
    }

    private static func failure(_ action: String, _ file: URL) -> MartletError {
        MartletError(.internal, "\(action) \(file.path): \(String(cString: strerror(errno)))")
    }
}
