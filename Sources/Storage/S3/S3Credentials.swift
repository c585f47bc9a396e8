/// Who signs requests to S3.
///
/// Neither description shows the secrets.
package struct S3Credentials: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible {
    package let accessKey: String
    package let secretKey: String
    /// Given with temporary credentials.
    package let sessionToken: String?

    package init(accessKey: String, secretKey: String, sessionToken: String?) {
        self.accessKey = accessKey
        self.secretKey = secretKey
        self.sessionToken = sessionToken
    }

    /// Reads `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
    ///
    /// - Throws: `StorageError` with the code `invalid`, naming the variable that is missing.
    package init(environment: [String: String]) throws {
        func required(_ name: String) throws -> String {
            guard let value = environment[name], !value.isEmpty else {
                throw StorageError(
                    .invalid,
                    "credentials for S3: \(name) is not set; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                )
            }
            return value
        }
        let token = environment["AWS_SESSION_TOKEN"].flatMap { $0.isEmpty ? nil : $0 }
        self.init(
            accessKey: try required("AWS_ACCESS_KEY_ID"),
            secretKey: try required("AWS_SECRET_ACCESS_KEY"),
            sessionToken: token
        )
    }

    package var description: String { "S3 credentials \(accessKey.prefix(4))…" }
    package var debugDescription: String { description }
}

extension S3Credentials: CustomReflectable {
    /// Without members, so that `dump` and mirrors do not show the secrets.
    package var customMirror: Mirror { Mirror(self, children: []) }
}
