import SwiftProtobuf
package import TemporalAPI

extension WorkflowMachine {
    /// Accepts an update: recorded now, its outcome later.
    package mutating func accept(_ update: UpdateRequest) {
        let message = APIUpdateAcceptance.with {
            $0.acceptedRequestMessageID = update.messageID
            $0.acceptedRequestSequencingEventID = update.sequencingEventID
            $0.acceptedRequest = update.request
        }
        answer(update, "accept", message)
    }

    /// Refuses an update; nothing of it stays in the history.
    package mutating func reject(_ update: UpdateRequest, _ failure: APIFailure) {
        let message = APIUpdateRejection.with {
            $0.rejectedRequestMessageID = update.messageID
            $0.rejectedRequestSequencingEventID = update.sequencingEventID
            $0.rejectedRequest = update.request
            $0.failure = failure
        }
        append(update, "reject", message)
    }

    package mutating func complete(_ update: UpdateRequest, _ outcome: APIUpdateOutcome) {
        answer(
            update,
            "complete",
            APIUpdateResponse.with {
                $0.meta = update.request.meta
                $0.outcome = outcome
            }
        )
    }

    private mutating func answer(_ update: UpdateRequest, _ kind: String, _ message: any Message) {
        append(update, kind, message)
        send(.protocolMessageCommandAttributes(.with { $0.messageID = "\(update.instanceID)/\(kind)" }))
    }

    private mutating func append(_ update: UpdateRequest, _ kind: String, _ message: any Message) {
        guard !isReplaying, let body = try? Google_Protobuf_Any(message: message) else { return }
        messages.append(
            .with {
                $0.id = "\(update.instanceID)/\(kind)"
                $0.protocolInstanceID = update.instanceID
                $0.body = body
            }
        )
    }
}
