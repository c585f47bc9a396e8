package import Control

/// The names that an app may resolve, and by that reach.
package enum NamePolicy: Sendable, Equatable {
    case open
    /// Patterns in lower case: a name, or `*.` and a name for all names below it. Empty: none.
    case only([String])

    package init(_ policy: ApplicationSettings.NetworkPolicy) {
        switch policy {
        case .open: self = .open
        case .none: self = .only([])
        case .only(let names): self = .only(names.map { $0.lowercased() })
        }
    }

    /// `name`: in lower case, without a dot at its end.
    package func allows(_ name: String) -> Bool {
        switch self {
        case .open: true
        case .only(let patterns):
            patterns.contains { pattern in
                pattern.hasPrefix("*.") ? name.hasSuffix(pattern.dropFirst()) : name == pattern
            }
        }
    }
}
