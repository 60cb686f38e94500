import ExecuTorch

/// A program of slide-export: normalised images [B, 3, H, W] in, scores of every class out.
///
/// Swift package: https://github.com/pytorch/executorch at the branch `swiftpm-1.5.1`, the number of the wheel that exported
/// it, with the products `executorch`, `backend_xnnpack`, `kernels_optimized` and, for int8, `kernels_quantized`. They
/// register themselves when they are loaded, so the target links with `-all_load`.
final class Classifier {
    private let module: Module
    private let rows: Int
    private let cols: Int
    private let largest: Int

    /// - Parameters:
    ///   - path: of `model.pte` in the application's bundle.
    ///   - largest: images in one call at most: `artifact.settings.largest` of the manifest.
    init(path: String, rows: Int, cols: Int, largest: Int) throws {
        module = Module(filePath: path)
        self.rows = rows
        self.cols = cols
        self.largest = largest
        try module.load("forward")
    }

    /// Scores of each image, one after the other; more images than `largest` are refused.
    func scores(_ images: [Float]) throws -> [Float] {
        let count = images.count / (3 * rows * cols)
        precondition(count >= 1 && count <= largest, "expected 1 to \(largest) images in one call, found \(count)")
        let input = Tensor<Float>(images, shape: [count, 3, rows, cols])
        let outputs = try module.forward(input)
        let scores: Tensor<Float> = try outputs[0].tensor()!
        return scores.scalars()
    }
}
