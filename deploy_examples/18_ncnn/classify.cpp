// Images in, top classes out: a bundle of slide-export under ncnn, on a board or a phone.
//
//     classify BUNDLE IMAGE.ppm...
//     classify BUNDLE --check
//
// It first proves itself: the network, as this machine runs it, against the trained model's own outputs, which the
// bundle carries. Exit codes: 0 done, 1 not equal to the trained model, 2 bad input.

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include <ncnn/net.h>

#include "../03_openvino_cpp/bundle.hpp"
#include "../03_openvino_cpp/image.hpp"
#include "network.hpp"

// Returns what runs one image, its values as the manifest says them.
Run runner(const Bundle& bundle, const ncnn::Net& net) {
    const auto& input = bundle.manifest.at("inputs").at(0);
    const auto& shape = input.at("shape");
    const bool bytes = bundle.manifest.at("artifact").at("settings").at("bytes");
    const int first = shape.at(1), second = shape.at(2), third = shape.at(3);
    const Sides sides = bytes ? Sides{third, first, second} : Sides{first, second, third};
    std::vector<std::string> outputs;
    for (const auto& output : bundle.manifest.at("outputs")) outputs.push_back(output.at("name"));
    return [&net, sides, bytes, outputs, name = input.at("name").get<std::string>()](const std::string& image) {
        return infer(net, image, bytes, sides, name, outputs);
    };
}

// Returns the exit code of a check and, where it passes, of the answers for these images.
int classify(const std::string& directory, const std::vector<std::string>& paths) {
    const Bundle bundle = read_bundle(directory, "ncnn");
    const auto& artifact = bundle.manifest.at("artifact");
    ncnn::Net net;
    exact(net.opt, artifact.at("settings").at("threads"));
    const std::filesystem::path param = bundle.path / artifact.at("path").get<std::string>();
    if (!load(net, param.string(), std::filesystem::path(param).replace_extension(".bin").string()))
        throw BadInput("expected a network that this ncnn loads, it refuses " + param.string() + " or its .bin");
    const Run run = runner(bundle, net);
    if (!check(bundle, run, 1, "ncnn")) return 1;
    for (const auto& path : paths) {
        const auto scores = run(prepare(read_ppm(path), bundle.manifest.at("preprocessing"))).at(0);
        const auto best = std::max_element(scores.begin(), scores.end()) - scores.begin();
        const auto& labels = bundle.manifest.at("labels");
        const std::string label = labels.empty() ? "class " + std::to_string(best) : labels.at(best).get<std::string>();
        std::printf("%s  %s\n", path.c_str(), label.c_str());
    }
    return 0;
}

int main(int count, char** words) {
    const std::vector<std::string> given(words + 1, words + count);
    if (given.size() < 2) {
        std::fprintf(stderr, "usage: classify BUNDLE IMAGE.ppm... | classify BUNDLE --check\n");
        return 2;
    }
    try {
        const bool alone = given[1] == "--check";
        return classify(given[0], {given.begin() + (alone ? 2 : 1), given.end()});
    } catch (const std::exception& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 2;
    }
}
