/// What a worker needs to start an app.
package struct StartOrder: Sendable {
    package var app: String
    package var version: String
    /// Relative to the app's folder.
    package var main: String
    package var environment: [String: String]
    package var folders: WorkerFolders
    package var limits: ControlGroupLimits
    package var network: NamePolicy
    /// Of one file, which no write makes larger; nil for no limit.
    package var fileBytes: Int?
    package var publicURL: String?
    package var requestTimeout: Duration
    /// How long background work may keep the app awake.
    package var waitUntil: Duration
    /// How long the start may take.
    package var deadline: Duration
    package var schema: Schema?
    package var isDevelopment: Bool
    /// Whether it gets the CPU time that others leave, for a second at most; then it is helped.
    package var yieldsCPU = false

    /// The file with the types of the app's handlers.
    package enum Schema: Sendable, Equatable {
        /// Relative to the app's folder.
        case app(String)
        /// Relative to its data folder.
        case data(String)
    }

    package init(
        app: String,
        version: String,
        main: String,
        environment: [String: String],
        folders: WorkerFolders,
        limits: ControlGroupLimits,
        network: NamePolicy = .open,
        fileBytes: Int? = nil,
        publicURL: String?,
        requestTimeout: Duration,
        waitUntil: Duration,
        deadline: Duration,
        schema: Schema? = nil,
        isDevelopment: Bool = false
    ) {
        self.app = app
        self.version = version
        self.main = main
        self.environment = environment
        self.folders = folders
        self.limits = limits
        self.network = network
        self.fileBytes = fileBytes
        self.publicURL = publicURL
        self.requestTimeout = requestTimeout
        self.waitUntil = waitUntil
        self.deadline = deadline
        self.schema = schema
        self.isDevelopment = isDevelopment
    }

    func assignment(_ layout: WorkerLayout) -> HostMessage.Assignment {
        let schema: String? =
            switch schema {
            case .app(let path): layout.app + "/" + path
            case .data(let path): layout.data + "/" + path
            case nil: nil
            }
        return HostMessage.Assignment(
            app: app,
            version: version,
            main: layout.app + "/" + main,
            data: layout.data,
            env: environment,
            publicURL: publicURL,
            limits: .init(requestTimeout: requestTimeout, startTimeout: deadline, waitUntil: waitUntil),
            schema: schema,
            develop: isDevelopment ? true : nil
        )
    }
}
