/// Counts what a round moves by plan against its budget.
struct BudgetMeter {
    private var apps: Int
    private var bytes: Int
    private var keyShare: Double
    private var isUntouched = true
    private let isOpen: Bool

    init(_ budget: Budget) {
        apps = budget.apps
        bytes = budget.bytes
        keyShare = budget.keyShare
        isOpen = apps > 0 && bytes > 0 && keyShare > 0
    }

    /// Whether a piece may still move.
    ///
    /// A single key that is above the budget may be the round's only move.
    func allows(_ piece: Piece) -> Bool {
        guard isOpen else { return false }
        let fits = piece.weight.apps <= apps && piece.weight.bytes <= bytes && piece.share <= keyShare
        return fits || (isUntouched && piece.isSingleKey)
    }

    mutating func take(_ piece: Piece) {
        isUntouched = false
        apps -= piece.weight.apps
        bytes -= piece.weight.bytes
        keyShare -= piece.share
    }
}
