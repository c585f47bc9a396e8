import FoundationEssentials
import Glibc
import NIOCore
import Storage

/// Writes to a folder's store from a process of its own, for tests of what holds between processes.
///
/// `race ROOT KEY VALUE GATE`: waits for the file GATE, then tries to create KEY; prints `won` or `lost`.
/// `count ROOT KEY TIMES GATE`: adds one to the number in KEY that many times by conditional writes.
@main
struct StorageProbe {
    static func main() async throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 6 else { exit(64) }
        let store = try await FolderStore(root: arguments[2])
        let key = try ObjectKey(arguments[3])
        while access(arguments[5], F_OK) != 0 { try await Task.sleep(for: .milliseconds(1)) }
        if arguments[1] == "race" {
            do {
                _ = try await store.put(key, .string(arguments[4]), if: .absent)
                print("won")
            } catch let error as StorageError where error.code == .conditionFailed {
                print("lost")
            }
        } else {
            for _ in 0..<(Int(arguments[4]) ?? 0) { try await increment(key, in: store) }
            print("counted")
        }
    }

    static func increment(_ key: ObjectKey, in store: FolderStore) async throws {
        while true {
            let found = try await store.get(key)
            let number = Int(String(buffer: try await found.content.firstPiece())) ?? 0
            guard let etag = found.info.etag else { exit(70) }
            do {
                _ = try await store.put(key, .string("\(number + 1)"), if: .matches(etag))
                return
            } catch let error as StorageError where error.code == .conditionFailed {
                continue
            }
        }
    }
}

extension ObjectContent {
    fileprivate func firstPiece() async throws -> ByteBuffer {
        for try await piece in self { return piece }
        return ByteBuffer()
    }
}
