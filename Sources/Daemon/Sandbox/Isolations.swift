/// In words, what a machine can lack and what helps.
package enum Isolations {
    package static let noLandlock =
        "the kernel has no Landlock (Linux 5.13, with landlock among the security modules: lsm=landlock,… at boot)"
    package static let noSeccomp = "the kernel cannot filter system calls (CONFIG_SECCOMP_FILTER)"

    /// What is missing of limits; nil for nothing.
    package static func limits(_ groups: any ControlGroups) -> String? {
        let missing = groups.features.missing.filter { $0 != "freezer" }
        guard !missing.isEmpty else { return nil }
        return
            "the limits of \(missing.joined(separator: ", ")) cannot be kept (control groups: \(groups.summary)); "
            + "run as root, or let systemd delegate: systemd-run --user --scope -p Delegate=yes martlet up"
    }
}
