// From an image file to what the model takes, as the manifest's "preprocessing" says.
//
// The resize is Pillow's: a separable filter as wide as the reduction asks, first along rows, then along columns,
// rounded to 8 bits in between. Pillow computes it in 22-bit fixed point, this in double precision: values may differ
// by one level of 255. Decoding differs too: ImageIO has its own JPEG decoder and, drawing into sRGB, applies embedded
// colour profiles, which Pillow leaves alone. Vision's own scaling (VNCoreMLRequest) has another filter, so it is not
// used here.
// Source: Pillow 11, src/libImaging/Resample.c (precompute_coeffs, bicubic_filter with a = -0.5).
import CoreGraphics
import Foundation
import ImageIO

/// Pixels, 8 bits each, [rows][columns][RGB].
struct Picture {
    let rows: Int
    let columns: Int
    let values: [UInt8]

    init(rows: Int, columns: Int, values: [UInt8]) {
        (self.rows, self.columns, self.values) = (rows, columns, values)
    }

    init(contentsOf path: String) throws {
        let url = URL(fileURLWithPath: path) as CFURL
        guard let source = CGImageSourceCreateWithURL(url, nil),
            let image = CGImageSourceCreateImageAtIndex(source, 0, nil),
            let space = CGColorSpace(name: CGColorSpace.sRGB)
        else { throw BadInput(description: "expected an image, cannot read \(path)") }
        let (height, width) = (image.height, image.width)
        var pixels = [UInt8](repeating: 255, count: height * width * 4)
        let drawn = pixels.withUnsafeMutableBytes { bytes -> Bool in
            guard let context = CGContext(
                data: bytes.baseAddress, width: width, height: height, bitsPerComponent: 8, bytesPerRow: 4 * width,
                space: space, bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue)
            else { return false }
            context.draw(image, in: CGRect(x: 0, y: 0, width: width, height: height))
            return true
        }
        guard drawn else { throw BadInput(description: "expected an image that CoreGraphics draws, \(path) is none") }
        let colours = (0..<height * width).flatMap { pixels[4 * $0..<4 * $0 + 3] }
        self.init(rows: height, columns: width, values: colours)
    }

    /// Rows become columns and columns rows.
    private var transposed: Picture {
        var turned = [UInt8](repeating: 0, count: values.count)
        for row in 0..<rows {
            for column in 0..<columns {
                for colour in 0..<3 {
                    turned[(column * rows + row) * 3 + colour] = values[(row * columns + column) * 3 + colour]
                }
            }
        }
        return Picture(rows: columns, columns: rows, values: turned)
    }

    func resized(rows newRows: Int, columns newColumns: Int, filter: Filter) -> Picture {
        squeezed(to: newColumns, filter).transposed.squeezed(to: newRows, filter).transposed
    }

    /// Resizes along the columns alone.
    private func squeezed(to size: Int, _ filter: Filter) -> Picture {
        if size == columns { return self }
        let ratio = Double(columns) / Double(size)
        let scale = max(ratio, 1)
        let support = filter.support * scale
        var found = [UInt8](repeating: 0, count: rows * size * 3)
        for place in 0..<size {
            let centre = (Double(place) + 0.5) * ratio
            let first = max(Int(centre - support + 0.5), 0)
            let last = min(Int(centre + support + 0.5), columns)
            let raw = (first..<last).map { filter.weight((Double($0) - centre + 0.5) / scale) }
            let total = raw.reduce(0, +)
            for row in 0..<rows {
                for colour in 0..<3 {
                    var sum = 0.0
                    for (offset, weight) in raw.enumerated() {
                        sum += weight / total * Double(values[(row * columns + first + offset) * 3 + colour])
                    }
                    found[(row * size + place) * 3 + colour] = UInt8(min(max((sum + 0.5).rounded(.down), 0), 255))
                }
            }
        }
        return Picture(rows: rows, columns: size, values: found)
    }

    func cropped(top: Int, left: Int, rows newRows: Int, columns newColumns: Int) -> Picture {
        let kept = (top..<top + newRows).flatMap { row in
            values[(row * columns + left) * 3..<(row * columns + left + newColumns) * 3]
        }
        return Picture(rows: newRows, columns: newColumns, values: kept)
    }
}

enum Filter: String {
    case bilinear, bicubic

    var support: Double { self == .bilinear ? 1 : 2 }

    func weight(_ at: Double) -> Double {
        let x = abs(at)
        switch self {
        case .bilinear: return max(1 - x, 0)
        case .bicubic:
            let a = -0.5
            if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
            return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0
        }
    }
}

/// Returns an image file as the model takes it: [1, 3, H, W], normalised.
func prepare(_ path: String, _ how: [String: Any]) throws -> Tensor {
    guard let resize = how["resize"] as? [Int], let crop = how["crop"] as? [Int], resize.count == 2, crop.count == 2,
        let mean = how["mean"] as? [Double], let std = how["std"] as? [Double],
        let filter = Filter(rawValue: how["interpolation"] as? String ?? "")
    else { throw BadInput(description: "expected resize, crop, mean, std, interpolation under preprocessing") }
    let picture = try Picture(contentsOf: path)
    var (rows, columns) = (resize[0], resize[1])
    if how["keep_aspect"] as? Bool ?? false {
        let factor = max(Double(rows) / Double(picture.rows), Double(columns) / Double(picture.columns))
        rows = max(rows, Int(Double(picture.rows) * factor))
        columns = max(columns, Int(Double(picture.columns) * factor))
    }
    // Python's round() takes halves to the even number.
    let top = Int((Double(rows - crop[0]) / 2).rounded(.toNearestOrEven))
    let left = Int((Double(columns - crop[1]) / 2).rounded(.toNearestOrEven))
    let seen = picture.resized(rows: rows, columns: columns, filter: filter)
        .cropped(top: top, left: left, rows: crop[0], columns: crop[1])
    let values = (0..<3).flatMap { colour in
        (0..<crop[0] * crop[1]).map { (Double(seen.values[$0 * 3 + colour]) / 255 - mean[colour]) / std[colour] }
    }
    return Tensor(shape: [1, 3] + crop, values: values)
}
