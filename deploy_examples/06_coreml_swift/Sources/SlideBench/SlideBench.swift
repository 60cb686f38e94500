// slide-bench BUNDLE [--image FILE] [--rounds N] [--calls N] [-o FILE]
// Proves a CoreML bundle of slide-export on each set of compute units, measures them in interleaved rounds, and writes
// the result as `slide-export bench` does. Exit codes: 0 done, 1 not equal to the trained model, 2 bad input.
import CoreML
import Foundation

struct Request {
    var bundle = ""
    var image: String?
    var rounds = 20
    var calls = 5
    var out = "result.json"

    init(_ arguments: [String]) throws {
        var rest = arguments[...]
        while let word = rest.popFirst() {
            switch word {
            case "--image": image = try Request.value(of: word, &rest)
            case "--rounds": rounds = try Request.number(of: word, &rest)
            case "--calls": calls = try Request.number(of: word, &rest)
            case "-o": out = try Request.value(of: word, &rest)
            default: bundle = word
            }
        }
        if bundle.isEmpty {
            throw BadInput(description: "expected a bundle: slide-bench BUNDLE [--image FILE] [-o FILE]")
        }
    }

    private static func value(of option: String, _ rest: inout ArraySlice<String>) throws -> String {
        guard let value = rest.popFirst() else { throw BadInput(description: "expected a value after \(option)") }
        return value
    }

    private static func number(of option: String, _ rest: inout ArraySlice<String>) throws -> Int {
        guard let number = Int(try value(of: option, &rest)), number > 0 else {
            throw BadInput(description: "expected a number of 1 or more after \(option)")
        }
        return number
    }
}

@main
struct SlideBench {
    static func main() async {
        do {
            let request = try Request(Array(CommandLine.arguments.dropFirst()))
            exit(try await run(request) ? 0 : 1)
        } catch {
            FileHandle.standardError.write(Data("error: \(error)\n".utf8))
            exit(2)
        }
    }

    /// Returns whether every set of compute units gave the trained model's answers; measures and writes only then.
    static func run(_ request: Request) async throws -> Bool {
        let bundle = try ExportedBundle(at: request.bundle)
        guard !bundle.embedsPreprocessing else {
            throw BadInput(description: "expected normalised images as input: export without --embed-preprocessing")
        }
        let began = Date()
        let compiled = try await MLModel.compileModel(at: bundle.package)
        defer { try? FileManager.default.removeItem(at: compiled) }
        var loaded: [Unit] = []
        for (name, allowed) in units { loaded.append(try await Unit(name, allowed, compiled: compiled)) }
        let verdicts = try loaded.map { try prove($0, bundle) }
        guard verdicts.allSatisfy({ $0 }) else { return false }
        if let image = request.image { try classify(image, bundle, loaded[0]) }
        try measure(loaded, bundle, request)
        let result = resultJSON(bundle, loaded, batch: bundle.fixedBatch ?? 1, calls: request.calls, began: began)
        let text = try JSONSerialization.data(withJSONObject: result, options: [.prettyPrinted, .sortedKeys])
        try text.write(to: URL(fileURLWithPath: request.out), options: .atomic)
        print(request.out)
        return true
    }
}

/// Measures in rounds, every unit in turn, in an order that changes: a device that warms up favours none of them.
/// Not async: in an async function `prediction(from:)` would be the asynchronous one.
func measure(_ loaded: [Unit], _ bundle: ExportedBundle, _ request: Request) throws {
    let images = bundle.golden["input.\(bundle.inputName)"]!
    let size = bundle.fixedBatch ?? 1
    let input = try feature(bundle.inputName, images.rows((0..<size).map { $0 % images.shape[0] }))
    for unit in loaded { try unit.warmUp(input) }
    for _ in 0..<request.rounds {
        for unit in loaded.shuffled() {
            _ = try unit.time(input)
            unit.rounds.append(try (0..<request.calls).map { _ in try unit.time(input) })
        }
    }
    for unit in loaded {
        let times = unit.rounds.flatMap { $0 }.sorted()
        print(String(format: "%@: median %.2f ms, loaded in %.0f ms, %@",
            unit.name, times[times.count / 2], unit.loadMilliseconds, "\(unit.placement)"))
    }
}

/// Prints the five likeliest classes of an image.
func classify(_ path: String, _ bundle: ExportedBundle, _ unit: Unit) throws {
    let tensor = try prepare(path, bundle.part("preprocessing"))
    let batch = tensor.rows([Int](repeating: 0, count: bundle.fixedBatch ?? 1))
    guard let name = bundle.outputNames.first else { return }
    let classes = bundle.golden["reference.\(name)"]?.shape.last ?? 0
    let scores = try numbers(name, of: unit.call(feature(bundle.inputName, batch))).prefix(classes)
    let labels = bundle.manifest["labels"] as? [String] ?? []
    for (place, score) in scores.enumerated().sorted(by: { $0.element > $1.element }).prefix(5) {
        print("\(place < labels.count ? labels[place] : "class \(place)"): \(score)")
    }
}
