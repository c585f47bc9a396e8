#if !hasFeature(ExistentialAny) || !hasFeature(InternalImportsByDefault) || !hasFeature(MemberImportVisibility)
#error("an upcoming feature that Package.swift names is not known to this compiler")
#endif

/// What the library says of itself to servers.
package enum TemporalLibrary {
    package static let version = "0.1.0"
    /// The `source` of failures that come from here.
    package static let failureSource = "SwiftSDK"
}
