// Pictures as the model takes them: a PPM file read, resized as Pillow does it to the bit, cropped and normalised.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include "bundle.hpp"

struct Picture {
    int height = 0, width = 0;
    std::vector<std::uint8_t> pixels;  // [height, width, 3] RGB
};

// Returns the picture in a binary PPM file ("P6", 8 bits).
inline Picture read_ppm(const std::string& path) {
    const std::string data = read_file(path);
    std::istringstream header(data);
    std::string magic, word;
    std::vector<int> numbers;  // width, height, largest value
    header >> magic;
    while (magic == "P6" && numbers.size() < 3 && header >> word) {
        if (word[0] == '#') std::getline(header, word);
        else numbers.push_back(std::atoi(word.c_str()));
    }
    if (numbers.size() < 3 || numbers[0] < 1 || numbers[1] < 1 || numbers[2] != 255)
        throw BadInput("expected a binary 8-bit PPM picture (P6), " + path + " is none: convert it");
    const std::size_t start = std::size_t(header.tellg()) + 1, size = std::size_t(3) * numbers[0] * numbers[1];
    if (data.size() < start + size) throw BadInput("expected a whole picture, " + path + " ends early");
    return {numbers[1], numbers[0], {data.begin() + start, data.begin() + start + size}};
}

// Source: R. G. Keys, Cubic convolution interpolation for digital image processing, 1981; a = -0.5 as in Pillow.
inline double bicubic(double x) {
    constexpr double a = -0.5;
    x = std::abs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

inline double bilinear(double x) { return std::max(0.0, 1 - std::abs(x)); }

constexpr int BITS = 22;  // of the fraction of a fixed-point weight: 32 less 8 of a pixel, less 2 for what overshoots

// The input pixels that one output pixel is made of, and their weights.
struct Taps {
    int first;
    std::vector<std::int32_t> weights;
};

// Returns the taps of each output pixel of one axis. The filter widens with the reduction, so nothing aliases.
// Source: Pillow 13.0, src/libImaging/Resample.c, precompute_coeffs and normalize_coeffs_8bpc.
inline std::vector<Taps> taps(int in, int out, const std::string& interpolation) {
    const bool cubic = interpolation == "bicubic";
    const double scale = double(in) / out, wide = std::max(scale, 1.0), support = (cubic ? 2 : 1) * wide;
    std::vector<Taps> found;
    for (int i = 0; i < out; ++i) {
        const double centre = (i + 0.5) * scale;
        const int first = std::max(0, int(centre - support + 0.5)), end = std::min(in, int(centre + support + 0.5));
        std::vector<double> weights;
        double sum = 0;
        for (int x = first; x < end; ++x) {
            const double at = (x - centre + 0.5) * (1 / wide);
            sum += weights.emplace_back(cubic ? bicubic(at) : bilinear(at));
        }
        Taps one{first, {}};
        for (double weight : weights) {
            const double fixed = weight / sum * (1 << BITS);
            one.weights.push_back(std::int32_t(fixed < 0 ? fixed - 0.5 : fixed + 0.5));
        }
        found.push_back(one);
    }
    return found;
}

// Returns one value of an output pixel; its input pixels lie `step` values apart.
inline std::uint8_t weighted(const std::uint8_t* pixel, std::size_t step, const std::vector<std::int32_t>& weights) {
    std::int32_t sum = 1 << (BITS - 1);
    for (std::size_t i = 0; i < weights.size(); ++i) sum += pixel[i * step] * weights[i];
    return std::uint8_t(std::clamp(sum >> BITS, 0, 255));
}

inline Picture resize_width(const Picture& from, int width, const std::string& interpolation) {
    Picture to{from.height, width, std::vector<std::uint8_t>(std::size_t(3) * from.height * width)};
    const auto across = taps(from.width, width, interpolation);
    const std::size_t row = std::size_t(3) * from.width;  // values
    auto next = to.pixels.begin();
    for (int y = 0; y < from.height; ++y)
        for (const Taps& tap : across)
            for (int c = 0; c < 3; ++c) *next++ = weighted(&from.pixels[y * row + 3 * tap.first + c], 3, tap.weights);
    return to;
}

inline Picture resize_height(const Picture& from, int height, const std::string& interpolation) {
    Picture to{height, from.width, std::vector<std::uint8_t>(std::size_t(3) * height * from.width)};
    const std::size_t row = std::size_t(3) * from.width;  // values
    auto next = to.pixels.begin();
    for (const Taps& tap : taps(from.height, height, interpolation))
        for (std::size_t x = 0; x < row; ++x) *next++ = weighted(&from.pixels[tap.first * row + x], row, tap.weights);
    return to;
}

// Returns the picture in another size; one axis after the other, rounded to 8 bits between.
// Source: of the order, Pillow 13.0, src/libImaging/Resample.c, ImagingResampleInner; before 13 the width came first.
inline Picture resize(const Picture& from, int height, int width, const std::string& interpolation) {
    const int lower = from.height - height, narrower = from.width - width;
    if (lower > 0 && lower > 2 * narrower)
        return resize_width(resize_height(from, height, interpolation), width, interpolation);
    return resize_height(resize_width(from, width, interpolation), height, interpolation);
}

// Returns an image as the bytes that the model takes: float [3, H, W], or uint8 [H, W, 3] where the model normalises.
// `how` is the manifest's "preprocessing".
inline std::string prepare(const Picture& picture, const nlohmann::json& how) {
    int rows = how.at("resize").at(0), cols = how.at("resize").at(1);
    const int height = how.at("crop").at(0), width = how.at("crop").at(1);
    if (how.at("keep_aspect")) {
        const double factor = std::max(double(rows) / picture.height, double(cols) / picture.width);
        rows = std::max(rows, int(picture.height * factor)), cols = std::max(cols, int(picture.width * factor));
    }
    const Picture resized = resize(picture, rows, cols, how.at("interpolation"));
    const int top = int(std::nearbyint((rows - height) / 2.0)), left = int(std::nearbyint((cols - width) / 2.0));
    const auto at = [&](int y, int x, int c) {
        return resized.pixels[3 * (std::size_t(top + y) * cols + left + x) + c];
    };
    const auto mean = how.at("mean").get<std::vector<float>>(), std = how.at("std").get<std::vector<float>>();
    std::string bytes;
    std::vector<float> values;
    if (how.at("embedded")) {
        for (int y = 0; y < height; ++y)
            for (int x = 0; x < width; ++x)
                for (int c = 0; c < 3; ++c) bytes += char(at(y, x, c));
        return bytes;
    }
    for (int c = 0; c < 3; ++c)
        for (int y = 0; y < height; ++y)
            for (int x = 0; x < width; ++x) values.push_back((at(y, x, c) / 255.0f - mean[c]) / std[c]);
    return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}
