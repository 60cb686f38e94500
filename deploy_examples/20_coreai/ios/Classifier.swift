import CoreAI
import Foundation

/// An asset of slide-export: normalised images [B, 3, H, W] in, scores of every class out.
///
/// iOS 27 or macOS 27, an asset that coreai-core 1.0.0b3 wrote, and Xcode's Metal toolchain. The system chooses among the
/// processor, the GPU and the Neural Engine: compare the golden images of the bundle before you trust the answers.
final class Classifier {
    private let function: InferenceFunction
    private let rows: Int
    private let cols: Int

    enum Failure: Error {
        case noFunction(String)
        case noOutput(String)
    }

    /// - Parameter url: of `model.aimodel` in the application's bundle.
    init(url: URL, rows: Int, cols: Int) async throws {
        let model = try await AIModel(contentsOf: url)
        guard let function = try model.loadFunction(named: "main") else {
            throw Failure.noFunction("main")
        }
        self.function = function
        self.rows = rows
        self.cols = cols
    }

    /// Scores of each image, one after the other.
    func scores(_ images: [Float]) async throws -> [Float] {
        let count = images.count / (3 * rows * cols)
        let input = NDArray(scalars: images, shape: [count, 3, rows, cols])
        var outputs = try await function.run(inputs: ["images": input])
        guard let logits = outputs.remove("logits")?.ndArray else {
            throw Failure.noOutput("logits")
        }
        return logits.view(as: Float.self).withUnsafePointer { first, shape, strides in
            var found: [Float] = []
            for image in 0..<shape[0] {
                for index in 0..<shape[1] {
                    found.append(first[image * strides[0] + index * strides[1]])
                }
            }
            return found
        }
    }
}
