import Foundation
import Slicer
import SlicerSimulation

/// Writes outcomes as a table.
struct Report {
    static let head =
        "| strategy | max:mean median | worst | before the round | excess | load moved | apps moved | bytes moved "
        + "| until < 1.2 | hosts lost: apps moved | table | decision |\n"
        + "|---|---|---|---|---|---|---|---|---|---|---|---|"

    static let legend = """
        max:mean median, worst, before: of the steady rounds, after (or before) each round
        excess: load above 1.1 times the mean before the round, which has to move at the least
        moved: share of all that moved, the average of the steady rounds
        until < 1.2: rounds from the first placement, and from the loss of the hosts
        hosts lost: share of the apps that moved in the rounds after the loss
        decision: median and longest time to decide a round
        """

    static func row(_ outcome: Comparison.Outcome, _ schedule: Comparison.Schedule) -> String {
        let steady = outcome.samples[schedule.settling..<(schedule.settling + schedule.steady)]
        let lossRound = schedule.settling + schedule.steady
        let loss = outcome.samples[lossRound..<(lossRound + schedule.loss)]
        let after = steady.map(\.maxToMean).sorted()
        let before = steady.map(\.maxToMeanBefore).sorted()
        let times = outcome.samples.map(\.time).sorted()
        func average(_ part: KeyPath<Comparison.Sample, Double>) -> Double {
            steady.reduce(0) { $0 + $1[keyPath: part] } / Double(steady.count)
        }
        let columns = [
            outcome.name,
            decimal(after[after.count / 2]),
            decimal(after[after.count - 1]),
            decimal(before[before.count / 2]),
            percent(average(\.excess)),
            percent(average(\.movedLoad)),
            percent(average(\.movedApps)),
            percent(average(\.movedBytes)),
            rounds(outcome.samples[...]) + ", " + rounds(loss),
            percent(loss.reduce(0) { $0 + $1.movedApps }),
            String(outcome.tableEntries),
            milliseconds(times[times.count / 2]) + ", " + milliseconds(times[times.count - 1]),
        ]
        return "| " + columns.joined(separator: " | ") + " |"
    }

    static func line(_ number: Int, _ sample: Comparison.Sample, _ strategy: any Strategy) -> String {
        var text =
            "round \(number): max:mean \(decimal(sample.maxToMeanBefore)) -> \(decimal(sample.maxToMean)), "
            + "apps \(percent(sample.movedApps)), load \(percent(sample.movedLoad)), "
            + "bytes \(percent(sample.movedBytes)), \(milliseconds(sample.time)), table \(strategy.tableEntries)"
        if let round = (strategy as? SlicerStrategy)?.lastRound {
            text += ", splits \(round.splits), merges \(round.merges), moves \(round.moves.count)"
        }
        return text
    }

    private static func rounds(_ samples: ArraySlice<Comparison.Sample>) -> String {
        guard let index = samples.firstIndex(where: { $0.maxToMean < 1.2 }) else { return "never" }
        return String(index - samples.startIndex + 1)
    }

    private static func decimal(_ value: Double) -> String { String(format: "%.3f", value) }

    private static func percent(_ share: Double) -> String { String(format: "%.3f %%", 100 * share) }

    private static func milliseconds(_ time: Duration) -> String {
        String(
            format: "%.0f ms",
            Double(time.components.seconds) * 1e3 + Double(time.components.attoseconds) / 1e15
        )
    }
}
