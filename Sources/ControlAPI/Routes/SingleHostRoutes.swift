import Control
import Hummingbird

/// Where one host stands alone, what is about several says so.
struct SingleHostRoutes {
    func add(to group: RouterGroup<APIContext>) {
        group.get("hosts") { _, _ in try Self.refuse() }
        group.get("slices") { _, _ in try Self.refuse() }
        group.post("hosts/:host/drain") { _, _ in try Self.refuse() }
        group.delete("hosts/:host/drain") { _, _ in try Self.refuse() }
        group.post("apps/:app/move") { _, _ in try Self.refuse() }
    }

    private static func refuse() throws -> Response {
        throw MartletError(
            .notFound,
            "this is one host by itself, without others to list, drain or move to; `martlet up --hosts 3` starts a cluster on "
                + "one machine, and docs/cluster.md tells how to run one on several"
        )
    }
}
