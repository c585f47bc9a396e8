import Foundation

/// Finds out which control groups this process may use.
package enum ControlGroupDetection {
    /// The groups to use, v2 where it has the memory controller, otherwise v1, otherwise none.
    ///
    /// `name`: the folder for this daemon's groups; two daemons on a machine need two names.
    /// `mounts`: the text of `/proc/self/mounts`.
    /// `membership`: the text of `/proc/self/cgroup`.
    package static func detect(
        name: String,
        mounts: String = ControlGroupDetection.text("/proc/self/mounts"),
        membership: String = ControlGroupDetection.text("/proc/self/cgroup")
    ) -> any ControlGroups {
        let layout = Layout(mounts: mounts, membership: membership)
        var v2: ControlGroupsV2?
        if let tree = layout.unified, tree.controllers.contains("memory") {
            v2 = ControlGroupsV2(tree: tree.path, name: name, isRoot: tree.isRoot)
        }
        if let v2, v2.features.contains(.memory) { return v2 }
        if let v1 = ControlGroupsV1(trees: layout.trees, name: name) { return v1 }
        if let v2 { return v2 }
        return NoControlGroups()
    }

    /// Where the trees are mounted, with this process's own group appended where there is one.
    struct Layout: Equatable {
        struct Unified: Equatable {
            var path: String
            var controllers: Set<String>
            var isRoot: Bool
        }

        /// v1: controller to folder.
        var trees: [String: String] = [:]
        var unified: Unified?

        init(mounts: String, membership: String) {
            var own: [String: String] = [:]
            for line in membership.split(separator: "\n") {
                let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
                guard parts.count == 3 else { continue }
                if parts[0] == "0" && parts[1].isEmpty { own[""] = String(parts[2]) }
                for controller in parts[1].split(separator: ",") {
                    own[String(controller)] = String(parts[2])
                }
            }
            for line in mounts.split(separator: "\n") {
                let words = line.split(separator: " ")
                guard words.count >= 4 else { continue }
                let point = String(words[1])
                if words[2] == "cgroup2" {
                    let group = own[""] ?? "/"
                    let path = Self.path(point, group)
                    let list = ControlGroupDetection.text(path + "/cgroup.controllers")
                    unified = Unified(
                        path: path,
                        controllers: Set(list.split(whereSeparator: \.isWhitespace).map(String.init)),
                        isRoot: group == "/"
                    )
                } else if words[2] == "cgroup" {
                    for option in words[3].split(separator: ",") {
                        let controller = String(option)
                        guard let group = own[controller] else { continue }
                        trees[controller] = Self.path(point, group)
                    }
                }
            }
        }

        /// In a container the group's path can be one of the machine that is not visible here: then the mount itself is it.
        private static func path(_ point: String, _ group: String) -> String {
            let path = group == "/" ? point : point + group
            return FileManager.default.fileExists(atPath: path) ? path : point
        }
    }

    package static func text(_ path: String) -> String {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}
