// A bundle of slide-export: manifest.json, golden.safetensors and the model package that they are about.
import CryptoKit
import Foundation

/// What was expected, what was found, what to do.
struct BadInput: Error, CustomStringConvertible {
    let description: String
}

/// Real numbers with a shape, row by row.
struct Tensor {
    let shape: [Int]
    let values: [Double]

    /// The rows of the first axis, over and over until there are as many as asked for.
    func rows(_ indices: [Int]) -> Tensor {
        let size = shape.dropFirst().reduce(1, *)
        let picked = indices.flatMap { values[$0 * size..<($0 + 1) * size] }
        return Tensor(shape: [indices.count] + shape.dropFirst(), values: picked)
    }
}

struct ExportedBundle {
    let folder: URL
    let manifest: [String: Any]
    let manifestSHA256: String
    let golden: [String: Tensor]

    /// Reads a bundle for CoreML, or says what is wrong with it.
    init(at path: String) throws {
        folder = URL(fileURLWithPath: path, isDirectory: true)
        let manifestFile = folder.appendingPathComponent("manifest.json")
        guard let text = try? Data(contentsOf: manifestFile),
            let content = (try? JSONSerialization.jsonObject(with: text)) as? [String: Any]
        else { throw BadInput(description: "expected a bundle of slide-export at \(path), found no manifest.json") }
        guard content["target"] as? String == "coreml" else {
            let target = content["target"] ?? "nothing"
            throw BadInput(description: "expected a bundle for coreml, found \(target): export with --target coreml")
        }
        manifest = content
        manifestSHA256 = SHA256.hash(data: text).map { String(format: "%02x", $0) }.joined()
        golden = try readSafetensors(folder.appendingPathComponent("golden.safetensors"))
    }

    func part(_ name: String) -> [String: Any] { manifest[name] as? [String: Any] ?? [:] }
    func list(_ name: String) -> [[String: Any]] { manifest[name] as? [[String: Any]] ?? [] }
    func text(_ name: String) -> String { manifest[name] as? String ?? "" }

    var package: URL { folder.appendingPathComponent(part("artifact")["path"] as? String ?? "model.mlpackage") }
    var inputName: String { list("inputs").first?["name"] as? String ?? "images" }
    var outputNames: [String] { list("outputs").compactMap { $0["name"] as? String } }

    /// The fixed batch size; nil where it is dynamic.
    var fixedBatch: Int? { part("options")["batch"] as? Int }

    /// Whether the model itself normalises: its input is then uint8 [B, H, W, 3], which this program does not feed.
    var embedsPreprocessing: Bool { part("preprocessing")["embedded"] as? Bool ?? false }
}

/// Returns the arrays of a safetensors file: eight bytes of length, a header in JSON, the raw values, little-endian.
func readSafetensors(_ file: URL) throws -> [String: Tensor] {
    guard let data = try? Data(contentsOf: file), data.count > 8 else {
        throw BadInput(description: "expected golden.safetensors in the bundle, cannot read \(file.path)")
    }
    let digits = data.prefix(8).enumerated()
    let length = Int(digits.reduce(UInt64(0)) { $0 | UInt64($1.element) << (8 * UInt64($1.offset)) })
    guard 8 + length <= data.count,
        let content = try? JSONSerialization.jsonObject(with: data.subdata(in: 8..<8 + length)),
        let header = content as? [String: [String: Any]]
    else { throw BadInput(description: "expected a safetensors header in \(file.path), found none") }
    var tensors: [String: Tensor] = [:]
    for (name, entry) in header where name != "__metadata__" {
        guard let shape = entry["shape"] as? [Int], let place = entry["data_offsets"] as? [Int], place.count == 2,
            let kind = entry["dtype"] as? String, 8 + length + place[1] <= data.count
        else { throw BadInput(description: "expected dtype, shape and place of \(name) in \(file.path)") }
        let raw = data.subdata(in: 8 + length + place[0]..<8 + length + place[1])
        tensors[name] = Tensor(shape: shape, values: try decode(raw, kind, name))
    }
    return tensors
}

private func decode(_ raw: Data, _ kind: String, _ name: String) throws -> [Double] {
    func each<Value>(_: Value.Type, _ convert: (Value) -> Double) -> [Double] {
        raw.withUnsafeBytes { bytes in
            stride(from: 0, to: bytes.count, by: MemoryLayout<Value>.size).map {
                convert(bytes.loadUnaligned(fromByteOffset: $0, as: Value.self))
            }
        }
    }
    switch kind {
    case "F64": return each(Double.self) { $0 }
    case "F32": return each(Float.self) { Double($0) }
    case "U8": return each(UInt8.self) { Double($0) }
    default: throw BadInput(description: "expected F64, F32 or U8 numbers, \(name) has \(kind)")
    }
}
