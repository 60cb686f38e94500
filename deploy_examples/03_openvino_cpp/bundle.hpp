// A bundle of slide-export: its manifest, its golden arrays, and the proof that an artifact equals the trained model.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

// What was expected, what was found, what to do.
struct BadInput : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// An array of a safetensors file; the first axis is the image.
struct Array {
    std::string dtype;  // "F32", "F64" or "U8"
    std::vector<std::size_t> shape;
    std::string bytes;

    std::size_t images() const { return shape.at(0); }
    std::size_t bytes_per_image() const { return bytes.size() / images(); }
};

struct Bundle {
    std::filesystem::path path;
    nlohmann::json manifest;
    std::map<std::string, Array> golden;

    // The images of a call: the fixed batch, or one.
    std::size_t batch() const {
        const auto& fixed = manifest.at("options").at("batch");
        return fixed.is_null() ? 1 : fixed.get<std::size_t>();
    }
};

// Runs one batch, its bytes as the model takes them, and returns the values of each output of the manifest.
using Run = std::function<std::vector<std::vector<float>>(const std::string& images)>;

inline std::string read_file(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw BadInput("cannot read " + path.string());
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Returns the arrays of a safetensors file: eight bytes of length, a header in JSON, the raw values.
inline std::map<std::string, Array> read_safetensors(const std::string& data) {
    std::uint64_t length = 0;  // little-endian, as every machine that OpenVINO and TensorRT run on
    if (data.size() < sizeof length) throw BadInput("golden.safetensors is empty");
    std::memcpy(&length, data.data(), sizeof length);
    const std::size_t start = sizeof length + length;
    const auto header = nlohmann::json::parse(data.substr(sizeof length, length));
    std::map<std::string, Array> arrays;
    for (const auto& [name, entry] : header.items()) {
        if (name == "__metadata__") continue;
        const auto [begin, end] = entry.at("data_offsets").get<std::pair<std::size_t, std::size_t>>();
        if (start + end > data.size()) throw BadInput("golden.safetensors ends early");
        arrays[name] = {entry.at("dtype"), entry.at("shape"), data.substr(start + begin, end - begin)};
    }
    return arrays;
}

// Returns the bundle in a directory, refused if it is for another target.
inline Bundle read_bundle(const std::filesystem::path& path, const std::string& target) {
    Bundle bundle{path, {}, {}};
    try {
        bundle.manifest = nlohmann::json::parse(read_file(path / "manifest.json"));
        bundle.golden = read_safetensors(read_file(path / "golden.safetensors"));
    } catch (const std::exception& error) {
        throw BadInput("expected a bundle of slide-export at " + path.string() + ": " + error.what());
    }
    if (const std::string found = bundle.manifest.at("target"); found != target)
        throw BadInput("expected a bundle for " + target + ", " + path.string() + " is for " + found +
                       ": export with --target " + target);
    return bundle;
}

// Returns every output for any number of images; the last batch is filled up with the first image.
inline std::vector<std::vector<float>> run_all(const Run& run, const std::string& images, std::size_t bytes_per_image,
                                               std::size_t batch) {
    const std::size_t count = images.size() / bytes_per_image;
    std::vector<std::vector<float>> all;
    for (std::size_t first = 0; first < count; first += batch) {
        const std::size_t real = std::min(batch, count - first);
        std::string part = images.substr(first * bytes_per_image, real * bytes_per_image);
        while (part.size() < batch * bytes_per_image) part += images.substr(0, bytes_per_image);
        const auto outputs = run(part);
        all.resize(outputs.size());
        for (std::size_t i = 0; i < outputs.size(); ++i)
            all[i].insert(all[i].end(), outputs[i].begin(), outputs[i].begin() + outputs[i].size() / batch * real);
    }
    return all;
}

// Returns whether one output is within its limits of the trained model's, and prints by how much it is off.
inline bool compare(const nlohmann::json& limit, const Array& expected, const std::vector<float>& found,
                    const std::string& runtime) {
    std::vector<double> exact(expected.bytes.size() / sizeof(double));
    std::memcpy(exact.data(), expected.bytes.data(), expected.bytes.size());
    const std::string name = limit.at("name");
    if (expected.dtype != "F64" || exact.size() != found.size())
        throw BadInput("expected " + std::to_string(exact.size()) + " values of " + name + ", found " +
                       std::to_string(found.size()) + ": the artifact is not the bundle's");
    double largest = 0, squares = 0;
    for (std::size_t i = 0; i < exact.size(); ++i) {
        const double error = std::abs(found[i] - exact[i]);
        if (!(error <= largest)) largest = error;  // so that NaN stays
        squares += error * error;
    }
    const double rms = std::sqrt(squares / exact.size());
    const double limit_max = limit.at("limit_max"), limit_rms = limit.at("limit_rms");
    const bool equal = largest <= limit_max && rms <= limit_rms;  // NaN is not
    std::printf("%s to the trained model on %zu images (%s): %s differ by %.1e of %.1e allowed, rms %.1e of %.1e\n",
                equal ? "✓ proved equal" : "✗ NOT equal", expected.images(), runtime.c_str(), name.c_str(), largest,
                limit_max, rms, limit_rms);
    return equal;
}

// Returns whether the artifact gives what the trained model gave for the golden images, so many in a call.
inline bool check(const Bundle& bundle, const Run& run, std::size_t batch, const std::string& runtime) {
    const std::string input = bundle.manifest.at("inputs").at(0).at("name");
    const Array& images = bundle.golden.at("input." + input);
    const auto found = run_all(run, images.bytes, images.bytes_per_image(), batch);
    bool passed = true;
    std::size_t place = 0;
    for (const auto& limit : bundle.manifest.at("parity").at("outputs")) {
        const Array& expected = bundle.golden.at("reference." + limit.at("name").get<std::string>());
        passed &= compare(limit, expected, found.at(place++), runtime);
    }
    return passed;
}
