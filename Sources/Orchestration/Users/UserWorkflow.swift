import ClusterContract
package import Control
package import Temporal

import Foundation

/// The workflow `user/<id>`: an account with its tokens, quotas and apps.
package actor UserWorkflow: Workflow {
    package static let name = "User"

    package static let setQuotas = UpdateDefinition<Account.Quotas, Account>("setQuotas")
    package static let addToken = UpdateDefinition<TokenRequest, Account>("addToken")
    package static let removeToken = UpdateDefinition<String, Account>("removeToken")
    package static let claim = UpdateDefinition<ClaimRequest, Account>("claim")
    package static let release = UpdateDefinition<ApplicationID, Account>("release")
    package static let account = QueryDefinition<Nothing, Account>("account")
    /// Whether a token with that hash is the user's.
    package static let accepts = QueryDefinition<String, Bool>("accepts")

    package nonisolated let context: WorkflowContext
    private var state: UserState?

    package init(context: WorkflowContext) { self.context = context }

    package static func register(_ handlers: inout WorkflowHandlers<UserWorkflow>) {
        handlers.update(setQuotas) { workflow, quotas in
            try await workflow.change { state, _ in state.quotas = quotas }
        }
        handlers.update(addToken) { workflow, request in
            try await workflow.change { state, now in
                let shown = Account.Token(id: request.id, name: request.name, createdAt: now)
                try state.add(UserState.Token(shown: shown, hash: request.hash))
            }
        }
        handlers.update(removeToken) { workflow, id in
            try await workflow.change { state, _ in try state.removeToken(id) }
        }
        handlers.update(claim) { workflow, request in
            try await workflow.change { state, _ in
                try state.claim(request.app, UserState.Claim(bytes: request.bytes, cpu: request.cpu))
            }
        }
        handlers.update(release) { workflow, app in
            try await workflow.change { state, _ in state.release(app) }
        }
        handlers.query(account) { workflow in
            guard let state = workflow.state else {
                throw ApplicationFailure(
                    "the account begins only now",
                    type: MartletError.Code.unavailable.rawValue
                )
            }
            return state.account
        }
        handlers.query(accepts) { workflow, hash in
            workflow.state?.tokens.contains { $0.hash == hash } ?? false
        }
    }

    package func run(_ input: UserInput) async throws -> Nothing {
        state = input.state ?? UserState(user: input.user, createdAt: context.now)
        let limit = input.historyEvents ?? ApplicationTiming().historyEvents
        try await waitUntil { $0.context.isContinueAsNewSuggested || $0.context.historyLength > limit }
        try await context.allHandlersFinished()
        try context.continueAsNew(
            UserInput(user: input.user, historyEvents: input.historyEvents, state: state)
        )
    }

    private func change(_ body: (inout UserState, Date) throws -> Void) async throws -> Account {
        try await waitUntil { $0.state != nil }
        guard var changed = state else { throw CancellationError() }
        do { try body(&changed, context.now) } catch { throw OrderFailure.failure(from: error) }
        state = changed
        return changed.account
    }
}

/// What a user's workflow begins with; a state only when it continues an earlier run.
package struct UserInput: Codable, Sendable {
    package var user: UserID
    /// Events after which the workflow continues as a new run.
    package var historyEvents: Int?
    package var state: UserState?

    package init(user: UserID, historyEvents: Int?, state: UserState? = nil) {
        self.user = user
        self.historyEvents = historyEvents
        self.state = state
    }
}

package struct TokenRequest: Codable, Sendable {
    package var id: String
    package var name: String
    package var hash: String
}

package struct ClaimRequest: Codable, Sendable {
    package var app: ApplicationID
    package var bytes: Int
    package var cpu: Double
}
