// swift-tools-version:5.9
import PackageDescription

// MLComputePlan is there from macOS 14.4 and iOS 17.4 on.
let package = Package(
    name: "SlideBench",
    platforms: [.macOS("14.4"), .iOS("17.4")],
    targets: [.executableTarget(name: "SlideBench")]
)
