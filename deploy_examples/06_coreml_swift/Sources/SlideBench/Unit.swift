// The model on one set of compute units: run, compared, placed.
import CoreML
import Foundation

let units: [(name: String, units: MLComputeUnits)] = [
    ("cpuOnly", .cpuOnly), ("cpuAndGPU", .cpuAndGPU), ("cpuAndNeuralEngine", .cpuAndNeuralEngine), ("all", .all),
]

final class Unit {
    let name: String
    let model: MLModel
    let loadMilliseconds: Double
    let placement: [String: Any]
    var warmUpCalls = 0
    var stable = false
    var firstMilliseconds = 0.0
    var rounds: [[Double]] = []

    /// Loads a compiled model (.mlmodelc) for the units, and asks what CoreML plans to run where.
    init(_ name: String, _ allowed: MLComputeUnits, compiled: URL) async throws {
        let configuration = MLModelConfiguration()
        configuration.computeUnits = allowed
        let start = ContinuousClock.now
        model = try await MLModel.load(contentsOf: compiled, configuration: configuration)
        loadMilliseconds = milliseconds(since: start)
        placement = try await planned(compiled, configuration)
        self.name = name
    }

    func call(_ input: MLFeatureProvider) throws -> MLFeatureProvider {
        try model.prediction(from: input)
    }

    func time(_ input: MLFeatureProvider) throws -> Double {
        let start = ContinuousClock.now
        _ = try call(input)
        return milliseconds(since: start)
    }

    /// Calls until the medians of three successive windows of four calls lie within 5 percent, 100 calls at most.
    func warmUp(_ input: MLFeatureProvider) throws {
        firstMilliseconds = try time(input)
        var medians: [Double] = []
        while !stable && warmUpCalls < 100 {
            let window = try (0..<4).map { _ in try time(input) }.sorted()
            medians.append((window[1] + window[2]) / 2)
            warmUpCalls += 4
            let last = medians.suffix(3)
            stable = last.count == 3 && last.max()! <= 1.05 * last.min()!
        }
    }
}

func milliseconds(since start: ContinuousClock.Instant) -> Double {
    let (seconds, attoseconds) = (ContinuousClock.now - start).components
    return Double(seconds) * 1e3 + Double(attoseconds) * 1e-15
}

/// Returns how many operations CoreML prefers to run on which device, and the share of the estimated cost.
private func planned(_ compiled: URL, _ configuration: MLModelConfiguration) async throws -> [String: Any] {
    let plan = try await MLComputePlan.load(contentsOf: compiled, configuration: configuration)
    guard case let .program(program) = plan.modelStructure, let main = program.functions["main"] else {
        throw BadInput(description: "expected an ML program with a function main in \(compiled.path)")
    }
    var counts: [String: Int] = [:]
    var cost: [String: Double] = [:]
    for operation in main.block.operations {
        guard let usage = plan.deviceUsage(for: operation) else { continue }  // constants run nowhere
        let device: String
        switch usage.preferred {
        case .cpu: device = "cpu"
        case .gpu: device = "gpu"
        case .neuralEngine: device = "neural_engine"
        @unknown default: device = "another"
        }
        counts[device, default: 0] += 1
        cost[device, default: 0] += plan.estimatedCost(of: operation)?.weight ?? 0
    }
    var told: [String: Any] = [:]
    for (device, count) in counts {
        told["operations_on_\(device)"] = count
        told["cost_on_\(device)"] = (cost[device, default: 0] * 1e4).rounded() / 1e4
    }
    return told
}

/// Returns a tensor as CoreML's input of that name.
func feature(_ name: String, _ tensor: Tensor) throws -> MLFeatureProvider {
    let array = MLShapedArray<Float>(scalars: tensor.values.map { Float($0) }, shape: tensor.shape)
    return try MLDictionaryFeatureProvider(dictionary: [name: MLFeatureValue(shapedArray: array)])
}

/// Returns an output as numbers in order of rows, whatever its type and strides.
func numbers(_ name: String, of found: MLFeatureProvider) throws -> [Double] {
    guard let array = found.featureValue(for: name)?.multiArrayValue else {
        throw BadInput(description: "expected an array \(name) from the model, found none: "
            + "export without --softmax and image input, which make a classifier")
    }
    return MLShapedArray<Double>(converting: array).scalars
}

/// Returns whether the units' outputs for the golden images are within the manifest's limits, and says so.
func prove(_ unit: Unit, _ bundle: ExportedBundle) throws -> Bool {
    guard let images = bundle.golden["input.\(bundle.inputName)"] else {
        throw BadInput(description: "expected input.\(bundle.inputName) in golden.safetensors, found none")
    }
    let size = bundle.fixedBatch ?? 1
    let count = images.shape[0]
    var equal = true
    var found: [String: [Double]] = [:]
    for start in stride(from: 0, to: count, by: size) {
        let batch = images.rows((start..<start + size).map { $0 % count })
        let outputs = try unit.call(feature(bundle.inputName, batch))
        for name in bundle.outputNames { found[name, default: []] += try numbers(name, of: outputs) }
    }
    for limits in bundle.part("parity")["outputs"] as? [[String: Any]] ?? [] {
        guard let name = limits["name"] as? String, let most = limits["limit_max"] as? Double,
            let rms = limits["limit_rms"] as? Double, let expected = bundle.golden["reference.\(name)"]?.values,
            let got = found[name], got.count >= expected.count
        else { throw BadInput(description: "expected limits, reference and output of one name, found \(limits)") }
        let errors = zip(got, expected).map { abs($0 - $1) }  // what repeats beyond the last image is left out
        let largest = errors.contains { $0.isNaN } ? Double.nan : errors.max() ?? .nan
        let root = (errors.map { $0 * $0 }.reduce(0, +) / Double(errors.count)).squareRoot()
        let within = largest <= most && root <= rms
        equal = equal && within
        print("\(unit.name): \(within ? "proved equal" : "NOT equal"), \(name) largest error \(largest) of \(most), "
            + "rms \(root) of \(rms)")
    }
    return equal
}
