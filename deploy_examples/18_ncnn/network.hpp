// What every program around ncnn needs of this bundle's network: exact options, loading, one image in and values out.
#pragma once

#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include <ncnn/net.h>

struct Sides {
    int channels, rows, columns;
};

// Sets the options that the bundle was proved with. Before load_param: weights are rounded while they are read.
inline void exact(ncnn::Option& options, int threads) {
    options.use_fp16_packed = false;
    options.use_fp16_storage = false;
    options.use_fp16_arithmetic = false;
    options.use_bf16_packed = false;
    options.use_bf16_storage = false;
    options.num_threads = threads;
    options.openmp_blocktime = 0;  // milliseconds of active waiting
}

// Loads both files; a network that did not load crashes when it is run.
inline bool load(ncnn::Net& net, const std::string& param, const std::string& bin) {
    return net.load_param(param.c_str()) == 0 && net.load_model(bin.c_str()) == 0;
}

// Returns one image, float [3, H, W] or bytes [H, W, 3], as an array of ncnn.
inline ncnn::Mat array_of(const std::string& image, bool bytes, const Sides& sides) {
    if (bytes) {
        const auto* pixels = reinterpret_cast<const unsigned char*>(image.data());
        return ncnn::Mat::from_pixels(pixels, ncnn::Mat::PIXEL_RGB, sides.columns, sides.rows);
    }
    ncnn::Mat mat(sides.columns, sides.rows, sides.channels);
    const std::size_t plane = sizeof(float) * sides.columns * sides.rows;  // channels lie apart in a Mat
    if (image.size() != plane * sides.channels) throw std::runtime_error("expected an image of the model's input size");
    for (int channel = 0; channel < sides.channels; ++channel)
        std::memcpy(mat.channel(channel), image.data() + channel * plane, plane);
    return mat;
}

// Returns the values of an output, channel after channel.
inline std::vector<float> values_of(const ncnn::Mat& mat) {
    std::vector<float> values;
    for (int channel = 0; channel < mat.c; ++channel) {
        const float* begin = mat.channel(channel);
        values.insert(values.end(), begin, begin + static_cast<std::size_t>(mat.w) * mat.h * mat.d);
    }
    return values;
}

// Runs one image; ncnn has no batch axis.
inline std::vector<std::vector<float>> infer(const ncnn::Net& net, const std::string& image, bool bytes,
                                             const Sides& sides, const std::string& input,
                                             const std::vector<std::string>& outputs) {
    ncnn::Extractor extractor = net.create_extractor();
    if (extractor.input(input.c_str(), array_of(image, bytes, sides)) != 0)
        throw std::runtime_error("expected a network with the input " + input);
    std::vector<std::vector<float>> found;
    for (const auto& output : outputs) {
        ncnn::Mat mat;
        if (extractor.extract(output.c_str(), mat) != 0) throw std::runtime_error("ncnn fails on the way to " + output);
        found.push_back(values_of(mat));
    }
    return found;
}
