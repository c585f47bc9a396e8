import Glibc

/// Bytes that wait: read and not yet understood, or not yet taken by the other side.
///
/// Holds no memory when empty.
struct Stash {
    private var base: MutableBytes?
    private var offset = 0
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    /// Replaces the content.
    mutating func set(_ bytes: Bytes, _ newCount: Int) {
        clear()
        append(bytes, newCount)
    }

    mutating func append(_ bytes: Bytes, _ more: Int) {
        guard more > 0 else { return }
        let joined = MutableBytes.allocate(capacity: count + more)
        if let base {
            memcpy(joined, base + offset, count)
            base.deallocate()
        }
        memcpy(joined + count, bytes, more)
        base = joined
        offset = 0
        count += more
    }

    /// Copies the content and empties.
    mutating func move(to target: MutableBytes) -> Int {
        guard let base else { return 0 }
        let moved = count
        memcpy(target, base + offset, moved)
        clear()
        return moved
    }

    func copy(to target: MutableBytes) {
        if let base { memcpy(target, base + offset, count) }
    }

    /// Calls `body` with the bytes, and drops as many from the front as it returns.
    mutating func consume(_ body: (Bytes, Int) -> Int) {
        guard let base else { return }
        let used = body(base + offset, count)
        offset += used
        count -= used
        if count == 0 { clear() }
    }

    mutating func clear() {
        base?.deallocate()
        base = nil
        offset = 0
        count = 0
    }
}
