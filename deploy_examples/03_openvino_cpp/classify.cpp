// Images in, top-5 out: a bundle of slide-export under OpenVINO.
//
//     classify BUNDLE IMAGE.ppm...
//     classify BUNDLE --check
//
// It first proves itself: the artifact, as this machine runs it, against the trained model's own outputs, which the
// bundle carries. Exit codes: 0 done, 1 not equal to the trained model, 2 bad input.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include <openvino/openvino.hpp>

#include "bundle.hpp"
#include "image.hpp"

// Returns the bundle's model, compiled with the settings that it was proved with.
ov::CompiledModel compile(const Bundle& bundle) {
    const auto& artifact = bundle.manifest.at("artifact");
    const auto& settings = artifact.at("settings");
    ov::AnyMap config;
    for (const auto& [name, value] : settings.at("config").items())
        config[name] = value.is_string() ? value.get<std::string>() : value.dump();
    try {
        // The file has batch 1, the fast one. For more images a call: read_model, then reshape, then this.
        const std::string path = (bundle.path / artifact.at("path").get<std::string>()).string();
        return ov::Core().compile_model(path, settings.at("device").get<std::string>(), config);
    } catch (const ov::Exception& error) {
        throw BadInput(std::string("expected a model that loads, OpenVINO says: ") + error.what());
    }
}

// Returns what runs one batch.
Run runner(const Bundle& bundle) {
    auto compiled = compile(bundle);
    auto request = compiled.create_infer_request();
    ov::Shape shape = compiled.input().get_partial_shape().get_min_shape();
    shape[0] = bundle.batch();
    return [request, shape, names = bundle.manifest.at("outputs")](const std::string& images) mutable {
        ov::Tensor input(request.get_compiled_model().input().get_element_type(), shape);
        if (input.get_byte_size() != images.size()) throw BadInput("expected images of the model's input size");
        std::memcpy(input.data(), images.data(), images.size());
        request.set_input_tensor(input);
        request.infer();
        std::vector<std::vector<float>> outputs;
        for (const auto& output : names) {
            const ov::Tensor found = request.get_tensor(output.at("name").get<std::string>());
            outputs.emplace_back(found.data<float>(), found.data<float>() + found.get_size());
        }
        return outputs;
    };
}

// Prints the five likeliest classes of one image; `scores` are logits or probabilities.
void show(const std::string& path, std::vector<double> scores, const nlohmann::json& manifest) {
    if (!manifest.at("options").at("softmax")) {
        const double largest = *std::max_element(scores.begin(), scores.end());
        double sum = 0;
        for (double& score : scores) sum += score = std::exp(score - largest);
        for (double& score : scores) score /= sum;
    }
    std::vector<std::size_t> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return scores[a] > scores[b]; });
    order.resize(std::min<std::size_t>(order.size(), 5));
    std::printf("%s\n", path.c_str());
    const auto labels = manifest.at("labels").get<std::vector<std::string>>();
    for (const std::size_t index : order) {
        const std::string label = labels.empty() ? "class " + std::to_string(index) : labels[index];
        std::printf("%7.1f%%  %s\n", 100 * scores[index], label.c_str());
    }
}

// Returns the exit code of a check and, where it passes, of the answers for these images.
int classify(const std::string& directory, const std::vector<std::string>& paths) {
    const Bundle bundle = read_bundle(directory, "openvino");
    if (!paths.empty() && bundle.manifest.at("options").at("features"))
        throw BadInput("expected a bundle that gives classes, " + directory + " gives feature maps: use --check alone");
    std::string images;
    for (const auto& path : paths) images += prepare(read_ppm(path), bundle.manifest.at("preprocessing"));
    const Run run = runner(bundle);
    const std::string version = ov::get_openvino_version().buildNumber;
    if (!check(bundle, run, bundle.batch(), "OpenVINO " + version.substr(0, version.find('-')))) return 1;
    if (paths.empty()) return 0;
    const auto scores = run_all(run, images, images.size() / paths.size(), bundle.batch()).at(0);
    const std::size_t classes = scores.size() / paths.size();
    for (std::size_t i = 0; i < paths.size(); ++i)
        show(paths[i], {scores.begin() + i * classes, scores.begin() + (i + 1) * classes}, bundle.manifest);
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
