/// Who answered a request, under which epoch, and when.
package struct ServedAnswer: Sendable {
    package var host: String
    /// 0 when nobody answered.
    package var epoch: Int
    package var begin: ContinuousClock.Instant
    package var end: ContinuousClock.Instant

    package init(
        host: String,
        epoch: Int,
        begin: ContinuousClock.Instant,
        end: ContinuousClock.Instant
    ) {
        self.host = host
        self.epoch = epoch
        self.begin = begin
        self.end = end
    }

    /// What shows two writers of one app: two hosts under one epoch, or an answer that began after another of a later epoch
    /// had ended.
    package static func contradictions(among answers: [ServedAnswer]) -> [String] {
        var found: [String] = []
        let known = answers.filter { $0.epoch > 0 }.sorted { $0.begin < $1.begin }
        let hosts = Dictionary(grouping: known, by: \.epoch).mapValues { Set($0.map(\.host)) }
        for (epoch, names) in hosts.sorted(by: { $0.key < $1.key }) where names.count > 1 {
            found.append("epoch \(epoch) was answered by \(names.sorted())")
        }
        let ends = known.sorted { $0.end < $1.end }
        var (index, newest) = (0, 0)
        for answer in known {
            while index < ends.count, ends[index].end < answer.begin {
                newest = max(newest, ends[index].epoch)
                index += 1
            }
            if answer.epoch < newest {
                found.append("\(answer.host) answered at epoch \(answer.epoch) after epoch \(newest)")
            }
        }
        return found
    }
}
