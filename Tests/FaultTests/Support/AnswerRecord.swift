import TestSupport

/// What a client was answered, by whom, at which epoch, and when.
struct Answer: Sendable {
    var app: String
    var isWrite: Bool
    /// The row that was written or asked for.
    var row: String
    /// 0: there was no answer.
    var status = 0
    var body = ""
    var host = ""
    var epoch = 0
    var port = ""
    var begin: ContinuousClock.Instant
    var end: ContinuousClock.Instant
}

/// Looks through answers for what must never be.
struct AnswerRecord: Sendable {
    private(set) var answers: [Answer] = []

    mutating func add(_ answer: Answer) { answers.append(answer) }

    func failures(of app: String? = nil) -> [Answer] {
        answers.filter { $0.status != 200 && (app == nil || $0.app == app) }
    }

    /// Rows whose writing was acknowledged.
    func acknowledged(_ app: String) -> Set<String> {
        Set(answers.filter { $0.app == app && $0.isWrite && $0.status == 200 }.map(\.row))
    }

    /// The first answer of an app with 200 at a later epoch than `epoch`.
    func firstAnswer(_ app: String, after epoch: Int) -> Answer? {
        answers.filter { $0.app == app && $0.status == 200 && $0.epoch > epoch }.min { $0.end < $1.end }
    }

    /// The epochs under which an app was answered.
    func epochs(of app: String) -> Set<Int> {
        Set(answers.filter { $0.app == app && $0.epoch > 0 }.map(\.epoch))
    }

    /// The longest time between two answers with 200 that followed each other, and its two ends.
    func longestPause(_ app: String) -> Duration {
        var longest = Duration.zero
        let ends = answers.filter { $0.app == app && $0.status == 200 }.map(\.end).sorted()
        for (one, next) in zip(ends, ends.dropFirst()) { longest = max(longest, next - one) }
        return longest
    }

    /// Two hosts under one epoch, or an answer of an epoch that began after another of a later epoch had ended.
    func contradictions() -> [String] {
        Set(answers.map(\.app)).sorted().flatMap { contradictions(of: $0) }
    }

    private func contradictions(of app: String) -> [String] {
        let served = answers.filter { $0.app == app }.map {
            ServedAnswer(host: $0.host, epoch: $0.epoch, begin: $0.begin, end: $0.end)
        }
        return ServedAnswer.contradictions(among: served).map { "\(app): \($0)" }
    }

    /// Reads that did not find a row whose writing had been acknowledged before they began.
    ///
    /// Only for apps whose acknowledged writes survive everything.
    func staleReads(_ app: String) -> [String] {
        var acknowledged: [String: ContinuousClock.Instant] = [:]
        for answer in answers where answer.app == app && answer.isWrite && answer.status == 200 {
            acknowledged[answer.row] = answer.end
        }
        return answers.compactMap { answer in
            guard answer.app == app, !answer.isWrite, answer.status == 200, answer.body != "1",
                let written = acknowledged[answer.row], written < answer.begin
            else { return nil }
            return "\(app): \(answer.host) at epoch \(answer.epoch) did not know \(answer.row)"
        }
    }
}
