import struct Foundation.Data

/// What the server gives page by page, as one sequence; a page is fetched when the one before it is used up.
public struct PagedSequence<Element: Sendable>: AsyncSequence, Sendable {
    private let fetch: @Sendable (_ token: Data) async throws -> (elements: [Element], next: Data)

    /// The first token is empty, and so is the one that comes with the last page.
    init(fetch: @escaping @Sendable (_ token: Data) async throws -> (elements: [Element], next: Data)) {
        self.fetch = fetch
    }

    public func makeAsyncIterator() -> Iterator { Iterator(fetch: fetch) }

    /// All elements at once.
    public func all() async throws -> [Element] {
        var elements: [Element] = []
        for try await element in self { elements.append(element) }
        return elements
    }

    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let fetch: @Sendable (_ token: Data) async throws -> (elements: [Element], next: Data)
        private var page: ArraySlice<Element> = []
        private var token = Data()
        private var isFirst = true

        fileprivate init(
            fetch: @escaping @Sendable (_ token: Data) async throws -> (elements: [Element], next: Data)
        ) {
            self.fetch = fetch
        }

        public mutating func next() async throws -> Element? {
            while page.isEmpty {
                guard isFirst || !token.isEmpty else { return nil }
                try Task.checkCancellation()
                let fetched = try await fetch(token)
                isFirst = false
                page = fetched.elements[...]
                token = fetched.next
            }
            return page.popFirst()
        }
    }
}
