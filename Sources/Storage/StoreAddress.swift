/// An object store as a person writes it: a folder, or `s3://bucket/prefix?endpoint=…&region=…&style=…`.
package enum StoreAddress: Sendable {
    /// An absolute path.
    case folder(String)
    case s3(S3Configuration)

    /// Reads an address; what it leaves open comes from the usual AWS variables: `AWS_ENDPOINT_URL_S3`,
    /// `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_DEFAULT_REGION`, and those of `S3Credentials`.
    ///
    /// - Throws: `StorageError` with the code `invalid`, saying what is missing.
    package init(_ text: String, environment: [String: String]) throws {
        guard text.hasPrefix("s3://") else {
            let path = text.hasPrefix("file://") ? String(text.dropFirst("file://".count)) : text
            guard path.hasPrefix("/") else {
                throw StorageError(
                    .invalid,
                    "object store \(text): give an absolute folder or s3://bucket/prefix"
                )
            }
            self = .folder(path)
            return
        }
        let rest = text.dropFirst("s3://".count)
        let place = rest.prefix { $0 != "?" }
        var options: [String: String] = [:]
        for option in rest.dropFirst(place.count + 1).split(separator: "&") {
            let pair = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(
                String.init
            )
            guard pair.count == 2, ["endpoint", "region", "style"].contains(pair[0]) else {
                throw StorageError(
                    .invalid,
                    "object store \(place): there is no option \(pair[0]); there is endpoint, region, style"
                )
            }
            options[pair[0]] = pair[1]
        }
        let style = try options["style"].map { name in
            guard let style = S3Configuration.Style(rawValue: name) else {
                throw StorageError(
                    .invalid,
                    "object store \(place): the style is path or virtualHost, not \(name)"
                )
            }
            return style
        }
        func first(_ names: String...) -> String? {
            names.lazy.compactMap { environment[$0] }.first { !$0.isEmpty }
        }
        self = .s3(
            try S3Configuration(
                bucket: String(place.prefix { $0 != "/" }),
                prefix: String(place.drop { $0 != "/" }),
                endpoint: options["endpoint"] ?? first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
                region: options["region"] ?? first("AWS_REGION", "AWS_DEFAULT_REGION") ?? "us-east-1",
                style: style,
                credentials: try S3Credentials(environment: environment)
            )
        )
    }
}
