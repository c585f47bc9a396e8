import Slicer
import Testing

struct KeyTests {
    @Test(arguments: [
        ("", "ef46db3751d8e999"),
        ("a", "d24ec4f1a98c6e5b"),
        ("abc", "44bc2cf5ad770999"),
        ("guestbook", "81d08b756f8088e8"),
        ("todo", "28ad9dfdb0f20b56"),
        ("my-app", "23c75ad0e2aed8de"),
        ("Grüße", "29964875bfe3cb55"),
        ("0123456789abcdef0123456789abcdef", "642a94958e71e6c5"),
        ("the quick brown fox jumps over the lazy dog, twice over the lazy dog", "2c72b230160ef4e6"),
    ])
    func `a name has the key of the reference implementation of XXH64`(name: String, key: String) {
        #expect(Key(hashing: name).description == key)
    }

    @Test func `a key is read back from its hexadecimal form`() {
        for value in [0, 1, 0x00ab_cdef, UInt64.max] {
            let key = Key(value)
            #expect(Key(hexadecimal: key.description) == key)
            #expect(key.description.count == 16)
        }
    }

    @Test(arguments: [
        "", "1", "+123456789abcdef", "123456789abcdefg", "00123456789abcdef", "-0000000000000ff",
    ])
    func `a text that is not 16 hexadecimal digits is no key`(text: String) {
        #expect(Key(hexadecimal: text) == nil)
    }

    @Test func `names that count up spread over the hash space`() {
        var counts = [Int](repeating: 0, count: 16)
        for number in 0..<16_000 { counts[Int(Key(hashing: "app-\(number)").value >> 60)] += 1 }
        #expect(counts.allSatisfy { 850...1150 ~= $0 }, "\(counts)")
    }

    @Test func `a slice knows its keys and its share`() throws {
        let half = try Slice(Key(0), Key(.max / 2))
        #expect(half.share == 0.5)
        #expect(half.contains(Key(.max / 2)) && !half.contains(Key(.max / 2 + 1)))
        #expect(Slice.whole.share == 1)
        #expect(Slice(Key(7)).isSingleKey)
        #expect(half.overlaps(Slice(Key(0))) && !half.overlaps(Slice(Key(.max))))
        #expect(throws: SlicerError.self) { try Slice(Key(2), Key(1)) }
    }
}
