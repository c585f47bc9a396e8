// swift-tools-version: 6.2
import PackageDescription

// Run `temporal server start-dev`, then `swift run` here.
let package = Package(
    name: "hello-temporal",
    platforms: [.macOS(.v15)],
    dependencies: [.package(name: "martlet", path: "../..")],
    targets: [
        .executableTarget(
            name: "hello-temporal",
            dependencies: [.product(name: "Temporal", package: "martlet")]
        )
    ]
)
