import ArgumentParser
import Control
import ControlClient
import Foundation

/// `martlet hosts`.
struct Hosts: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the hosts of the cluster.")

    @OptionGroup var client: ClientOptions
    @Flag(help: "Print an array of objects.") var json = false

    func run() async throws {
        let hosts = try await client.client().hosts()
        if json { return try Terminal.json(hosts) }
        guard !hosts.isEmpty else {
            return Terminal.note("There are no hosts yet. `martlet host` starts one.")
        }
        var table = TextTable([
            "host", "state", "apps", "moving", "slices", "share", "load", "databases", "ingress",
        ])
        for host in hosts {
            let load = host.capacity > 0 ? host.load * 100 / host.capacity : 0
            table.add([
                host.id.rawValue, host.state.rawValue, "\(host.apps)", "\(host.moving)", "\(host.slices)",
                "\(Int((host.share * 100).rounded())) %", "\(load) %", ByteCount.format(host.databaseBytes),
                host.ingress.description,
            ])
        }
        table.print()
    }
}

/// `martlet slices`.
struct Slices: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show which host has which part of the hash space, and the apps that are elsewhere."
    )

    @OptionGroup var client: ClientOptions
    @Flag(help: "Print an object.") var json = false

    func run() async throws {
        let summary = try await client.client().slices()
        if json { return try Terminal.json(summary) }
        var table = TextTable(["first key", "last key", "host"])
        for slice in summary.slices { table.add([slice.first, slice.last, slice.host.rawValue]) }
        table.print()
        for exception in summary.exceptions {
            Terminal.note(
                "\(exception.app) is on \(exception.host), not on its slice's host (epoch \(exception.epoch))"
            )
        }
        for app in summary.hotApps {
            Terminal.warning("\(app) by itself is more than a host's fair share; no move can help")
        }
        let balance = summary.maxToMean.map { ", max:mean \(Double(Int($0 * 1000)) / 1000)" } ?? ""
        Terminal.note("generation \(summary.generation), assignment \(summary.assignment)\(balance)")
    }
}

/// `martlet move`.
struct Move: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Move an app to another host while it is being used; no request fails.",
        discussion: "The app stays there until its host is drained or lost, or until it is moved again."
    )

    @Argument(help: "The app's name.") var app: String
    @Option(help: "The host, as `martlet hosts` lists them.") var to: String
    @OptionGroup var client: ClientOptions
    @Flag(help: "Print an object.") var json = false

    func run() async throws {
        let progress = OperationProgress()
        let record = try await client.client().move(
            try ApplicationID(validating: app),
            to: try HostID(validating: to)
        ) { progress.show($0) }
        progress.clear()
        if json { try Terminal.json(record) }
        if let error = record.error {
            throw MartletError(error.code, "\(app) was not moved: \(error.message)")
        }
        guard !json else { return }
        let time = record.finishedAt.map { $0.timeIntervalSince(record.startedAt) } ?? 0
        Terminal.print("\(app) is on \(to) (\(DurationText.format(.milliseconds(Int(time * 1000)))))")
    }
}

/// `martlet drain`.
struct Drain: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Empty a host: its apps move to the others while they are being used.",
        discussion: "Then the host can be stopped. --undo gives it work again."
    )

    @Argument(help: "The host, as `martlet hosts` lists them.") var host: String
    @Flag(help: "Do not wait until the host is empty.") var detach = false
    @Flag(help: "Give a draining or drained host work again.") var undo = false
    @OptionGroup var client: ClientOptions
    @Flag(help: "Print an object.") var json = false

    func run() async throws {
        let id = try HostID(validating: host)
        let client = try client.client()
        if undo {
            try await client.undrain(id)
        } else {
            try await client.drain(id)
        }
        while true {
            guard let summary = try await client.hosts().first(where: { $0.id == id }) else {
                throw MartletError(.notFound, "there is no host named \(host)")
            }
            if undo || detach || summary.state == .drained {
                if json { return try Terminal.json(summary) }
                return Terminal.print("\(host) is \(summary.state.rawValue)")
            }
            guard summary.state == .draining else {
                throw MartletError(
                    .conflict,
                    "\(host) is \(summary.state.rawValue) and does not drain any more"
                )
            }
            if Terminal.isInteractive {
                Terminal.draw("\r\u{1B}[K  \(summary.apps) apps left, \(summary.moving) moving")
            }
            try await Task.sleep(for: .milliseconds(500))
        }
    }
}
