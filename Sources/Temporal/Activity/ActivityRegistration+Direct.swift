package import TemporalAPI

extension ActivityRegistration {
    /// Runs the activity here and now, with the retries that its policy allows, without the waits between them.
    ///
    /// - Returns: Its result, or the failure of its last attempt.
    package func callDirectly(
        _ task: APIPollActivityTaskQueueResponse,
        retryPolicy: RetryPolicy,
        environment: WorkflowEnvironment
    ) async -> Result<APIPayload, ApplicationFailure> {
        var task = task
        task.attempt = 1
        let converter = environment.converter
        while true {
            let info = ActivityInfo(task, namespace: environment.namespace, taskQueue: environment.taskQueue)
            let state = ActivityState(converter: converter, heartbeater: nil)
            let context = ActivityContext(info: info, workerLogger: environment.logger, state: state)
            let input = task.input.payloads
            let result = await state.run { try await body(context, input, converter.payloads) }
            switch result {
            case .success(let payload): return .success(payload)
            case .failure(let error):
                let failure = FailureConverter.failure(from: error)
                guard retryPolicy.delay(after: Int(task.attempt), error) != nil, task.attempt < 100 else {
                    let type = "\(Swift.type(of: failure))"
                    return .failure(
                        failure as? ApplicationFailure
                            ?? ApplicationFailure(failure.message, type: type, cause: failure)
                    )
                }
                task.attempt += 1
            }
        }
    }
}
