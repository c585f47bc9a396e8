/// A machine, or a process in tests, that runs the host daemon.
///
/// It names the task queue `host-<id>`.
public struct HostID: Identifier {
    public let rawValue: String

    public init(validating string: String) throws(MartletError) {
        guard isDNSLabel(string) else {
            throw MartletError(
                .badRequest,
                "\"\(string.prefix(80))\" cannot name a host: a name is 1 to 63 of a-z, 0-9 and -, "
                    + "and starts and ends with a letter or digit"
            )
        }
        rawValue = string
    }
}
