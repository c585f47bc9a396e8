import Slicer
import SlicerSimulation

/// Compares the Slicer with consistent hashing on a made-up cluster; see docs/slicer.md.
@main
struct Main {
    private static let usage = """
        usage: slicer-simulation [--hosts N] [--apps N] [--seed N] [--budget PERCENT] [--steady ROUNDS]
                                 [--verbose yes] [--only NAME]...
        names: slicer summarised plain100 plain1000 bounded100 bounded1000 shedding100 shedding1000
        """

    static func main() throws {
        var options = World.Options()
        var schedule = Comparison.Schedule()
        var budget = 2.0
        var isVerbose = false
        var names: [String] = []
        var arguments = CommandLine.arguments.dropFirst()
        while let flag = arguments.popFirst() {
            guard let value = arguments.popFirst() else { return print(usage) }
            switch (flag, Int(value)) {
            case ("--hosts", let number?) where number > 1: options.hosts = number
            case ("--apps", let number?) where number > 1: options.apps = number
            case ("--seed", let number?): options.seed = UInt64(number.magnitude)
            case ("--steady", let number?) where number > 0: schedule.steady = number
            case ("--budget", _): budget = Double(value) ?? budget
            case ("--verbose", _): isVerbose = value == "yes"
            case ("--only", _): names.append(value)
            default: return print(usage)
            }
        }
        schedule.lostHosts = max(1, options.hosts / 100)
        let comparison = Comparison(options, schedule)
        print(
            "hosts \(options.hosts), apps \(options.apps), seed \(options.seed), "
                + "budget \(budget) % a round, bound of the baselines 1.1"
        )
        print(Report.head)
        for name in names.isEmpty ? all : names {
            guard let make = strategy(name, budget: budget / 100) else { return print(usage) }
            let outcome = try comparison.run(make) { number, sample, strategy in
                if isVerbose { print(Report.line(number, sample, strategy)) }
            }
            print(Report.row(outcome, schedule))
        }
        print(Report.legend)
    }

    private static let all = [
        "plain100", "plain1000", "bounded100", "bounded1000", "shedding100", "shedding1000", "slicer",
        "summarised",
    ]

    private static func strategy(_ name: String, budget: Double) -> ((World) -> any Strategy)? {
        let bound = 1.1
        switch name {
        case "plain100": return { PlainRingStrategy($0, virtualNodes: 100) }
        case "plain1000": return { PlainRingStrategy($0, virtualNodes: 1000) }
        case "bounded100": return { BoundedRingStrategy($0, virtualNodes: 100, bound: bound) }
        case "bounded1000": return { BoundedRingStrategy($0, virtualNodes: 1000, bound: bound) }
        case "shedding100": return { SheddingRingStrategy($0, virtualNodes: 100, bound: bound) }
        case "shedding1000": return { SheddingRingStrategy($0, virtualNodes: 1000, bound: bound) }
        case "slicer", "summarised":
            return { _ in
                SlicerStrategy(policy: .standard, budgetShare: budget, isSummarised: name == "summarised")
            }
        default: return nil
        }
    }
}
