// A bundle of slide-export under ExecuTorch, as an application on Android, iOS or embedded Linux runs it.
//
//     prove BUNDLE
//
// The artifact, as this machine runs it, against the trained model's own outputs, which the bundle carries. Exit codes:
// 0 equal, 1 not equal to the trained model, 2 bad input.

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>

#include "bundle.hpp"

using executorch::aten::ScalarType;
using executorch::extension::from_blob;
using executorch::extension::Module;

// Returns the bundle's program, with its method loaded.
std::shared_ptr<Module> load(const Bundle& bundle) {
    const auto path = bundle.path / bundle.manifest.at("artifact").at("path").get<std::string>();
    auto module = std::make_shared<Module>(path.string());
    if (module->load_forward() != executorch::runtime::Error::Ok)
        throw BadInput("expected a program that ExecuTorch loads, found none in " + path.string());
    return module;
}

// Returns what runs one batch. A program plans its memory for `settings.largest` images and takes no more in one call.
Run runner(const Bundle& bundle) {
    const auto& input = bundle.golden.at("input." + bundle.manifest.at("inputs").at(0).at("name").get<std::string>());
    const auto kind = input.dtype == "U8" ? ScalarType::Byte : ScalarType::Float;
    const std::vector<executorch::aten::SizesType> image(input.shape.begin() + 1, input.shape.end());
    return [module = load(bundle), kind, image, bytes = input.bytes_per_image()](const std::string& images) {
        std::vector<executorch::aten::SizesType> sizes = {
            static_cast<executorch::aten::SizesType>(images.size() / bytes)};
        sizes.insert(sizes.end(), image.begin(), image.end());
        std::vector<char> fed(images.begin(), images.end());  // a tensor does not own its data: it outlives the call
        const auto found = module->forward(from_blob(fed.data(), sizes, kind));
        if (!found.ok()) throw BadInput("expected a program that runs, ExecuTorch says error " +
                                        std::to_string(static_cast<std::uint32_t>(found.error())));
        std::vector<std::vector<float>> outputs;
        for (const auto& value : *found) {
            const auto tensor = value.toTensor();
            const float* data = tensor.const_data_ptr<float>();
            outputs.emplace_back(data, data + tensor.numel());
        }
        return outputs;
    };
}

int main(int count, char** words) {
    if (count != 2) {
        std::fprintf(stderr, "usage: prove BUNDLE\n");
        return 2;
    }
    try {
        const Bundle bundle = read_bundle(words[1], "executorch");
        return check(bundle, runner(bundle), bundle.batch(), "ExecuTorch with XNNPACK") ? 0 : 1;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 2;
    }
}
