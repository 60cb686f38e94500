// A bundle of slide-export on an NVIDIA GPU: builds its engine, proves it, measures it.
//
//     bench BUNDLE [--batch N] [--rounds N] [--calls N] [--timing-cache FILE] [--plan FILE] [--build-only] [-o FILE]
//
// The engine is built here from the bundle's own graph, compared with the trained model's outputs that the bundle
// carries, and timed with CUDA events. The result is one that `slide-export report` reads.
// Exit codes: 0 done, 1 not equal to the trained model, 2 bad input, 3 no GPU.

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "bundle.hpp"
#include "engine.hpp"

using nlohmann::json;

constexpr std::size_t WINDOW = 4, WINDOWS = 3, WARMUP_CALLS = 400;  // stable: 3 windows' medians lie within 5 %
constexpr float DRIFT = 0.05F;
constexpr const char* TIMED = "the GPU alone, from event to event around one call; copies are not in it";
constexpr const char* DOUBT =
    "the clocks of the GPU are whatever they were: nvidia-smi --lock-gpu-clocks would hold them";

struct Asked {
    std::string bundle, timing_cache, plan, out;
    int batch = 1, rounds = 20, calls = 5;
    bool build_only = false;
};

Asked parse(const std::vector<std::string>& words) {
    Asked asked;
    std::map<std::string, std::string*> texts{
        {"--timing-cache", &asked.timing_cache}, {"--plan", &asked.plan}, {"-o", &asked.out}};
    std::map<std::string, int*> numbers{
        {"--batch", &asked.batch}, {"--rounds", &asked.rounds}, {"--calls", &asked.calls}};
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string& word = words[i];
        const bool takes = texts.count(word) || numbers.count(word);
        if (takes && i + 1 == words.size()) throw BadInput("expected a value after " + word);
        if (texts.count(word)) *texts[word] = words[++i];
        else if (numbers.count(word)) *numbers[word] = std::atoi(words[++i].c_str());
        else if (word == "--build-only") asked.build_only = true;
        else if (asked.bundle.empty() && word[0] != '-') asked.bundle = word;
        else throw BadInput("expected one bundle and known options, found " + word);
    }
    if (asked.bundle.empty()) throw BadInput("expected bench BUNDLE [--batch N] [-o result.json], found no bundle");
    if (std::min({asked.batch, asked.rounds, asked.calls}) < 1) throw BadInput("expected numbers of 1 or more");
    return asked;
}

float median(std::vector<float> values) {
    std::sort(values.begin(), values.end());
    const std::size_t half = values.size() / 2;
    return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

std::vector<float> calls(Engine& engine, std::size_t count) {
    std::vector<float> times(count);
    std::generate(times.begin(), times.end(), [&] { return engine.run(); });
    return times;
}

// Returns the times of a batch that is bound, as the result's schema names them.
json measure(Engine& engine, const Asked& asked) {
    json run{{"first_ms", engine.run()}, {"stable", false}};
    std::vector<float> medians;
    while (!run["stable"] && medians.size() * WINDOW < WARMUP_CALLS) {
        medians.push_back(median(calls(engine, WINDOW)));
        if (medians.size() < WINDOWS) continue;
        const auto [least, most] = std::minmax_element(medians.end() - WINDOWS, medians.end());
        run["stable"] = *most <= (1 + DRIFT) * *least;
    }
    run["warmup_calls"] = medians.size() * WINDOW;
    std::vector<float> all;
    for (int round = 0; round < asked.rounds; ++round) {
        const auto times = calls(engine, asked.calls);
        run["rounds_ms"].push_back(times);
        all.insert(all.end(), times.begin(), times.end());
    }
    std::printf("batch %d: median %.3f ms of %zu calls, %s\n", asked.batch, median(all), all.size(), TIMED);
    return run;
}

// Returns the largest resident set of this process in MiB; the GPU's memory is not in it.
double peak_mib() {
    std::ifstream status("/proc/self/status");
    std::string word;
    while (status >> word)
        if (double kib = 0; word == "VmHWM:" && status >> kib) return kib / 1024;
    return 0;
}

json subject(const json& manifest) {
    json found{{"artifact_bytes", manifest.at("artifact").at("bytes")}};
    for (const char* name : {"name", "target", "parity", "accuracy"}) found[name] = manifest.at(name);
    const auto &precision = manifest.at("precision"), &options = manifest.at("options");
    found["precision"] = precision.is_object() ? precision.at("name") : precision;  // a name alone in schema 1
    const auto& model = manifest.at("model");
    for (const char* name : {"family", "variant", "image_size", "parameters", "macs"}) found[name] = model.at(name);
    const char* form = options.contains("form") ? "form" : "lowering";  // its name in schema 1
    found["lowering"] = manifest.at("fusion").empty() ? json("") : options.at(form);
    return found;
}

json environment(const std::string& device) {
    utsname system{};
    uname(&system);
    double load = 0;
    getloadavg(&load, 1);
    const auto memory = double(sysconf(_SC_PHYS_PAGES)) * double(sysconf(_SC_PAGE_SIZE));
    return {{"device", device}, {"cpu", system.machine}, {"flags", json::array()}, {"governor", ""}, {"python", ""},
            {"cores", std::thread::hardware_concurrency()}, {"memory_mib", std::int64_t(memory) >> 20},
            {"system", std::string(system.sysname) + " " + system.release}, {"load_average", load},
            {"versions", {{"tensorrt", version()}}}, {"warnings", {DOUBT}}};
}

void save(const std::string& path, const nvinfer1::IHostMemory& plan) {
    std::ofstream(path, std::ios::binary).write(static_cast<const char*>(plan.data()), std::streamsize(plan.size()));
}

void write(const std::string& path, const json& content) {
    const std::string beside = path + ".part";  // whole or not at all
    std::ofstream(beside) << content.dump(2) << "\n";
    std::filesystem::rename(beside, path);
}

std::string now() {
    const std::time_t time = std::time(nullptr);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S+00:00", std::gmtime(&time));
    return text;
}

std::string device() {
    int count = 0;
    if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess || count == 0)
        throw NotHere(std::string("expected an NVIDIA GPU, found none: the driver says ") + cudaGetErrorString(error));
    cudaDeviceProp properties{};
    call(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
    return properties.name;
}

// Returns what runs one batch and brings its outputs back.
Run runner(Engine& engine, const Bundle& bundle, std::size_t batch) {
    return [&, batch](const std::string& images) {
        engine.bind(images, batch);
        engine.run();
        std::vector<std::vector<float>> outputs;
        for (const auto& output : bundle.manifest.at("parity").at("outputs"))
            outputs.push_back(engine.output(output.at("name")));
        return outputs;
    };
}

// Returns the exit code of a build and, unless that is all, of the proof and the measurement.
int bench(Asked asked) {
    const Bundle bundle = read_bundle(asked.bundle, "tensorrt");
    const auto& artifact = bundle.manifest.at("artifact");
    const auto& fixed = bundle.manifest.at("options").at("batch");
    if (!fixed.is_null()) asked.batch = fixed;
    const std::string gpu = asked.build_only ? "" : device(), began = now();  // refused before the build, not after it
    const bool tf32 = artifact.at("settings").at("tf32");
    Logger logger;
    const std::string graph = read_file(bundle.path / artifact.at("graph").get<std::string>());
    const auto plan = build(logger, graph, {1, asked.batch, asked.batch, tf32, asked.timing_cache});
    if (!asked.plan.empty()) save(asked.plan, *plan);
    std::printf("built an engine of %.1f MiB with %s\n", plan->size() / 1048576.0, version().c_str());
    if (asked.build_only) return 0;

    const auto start = std::chrono::steady_clock::now();
    Engine engine(logger, *plan);
    const std::chrono::duration<double, std::milli> load = std::chrono::steady_clock::now() - start;
    const std::string name = version() + " on " + gpu;
    if (!check(bundle, runner(engine, bundle, asked.batch), asked.batch, name)) return 1;

    json run = measure(engine, asked);  // of the batch that was checked last
    run["subject"] = subject(bundle.manifest);
    run["settings"] = {{"tf32", tf32}, {"timed", TIMED}};
    run.update({{"evaluator", name}, {"batch", asked.batch}});
    run.update({{"import_ms", nullptr}, {"load_ms", load.count()}, {"peak_mib", peak_mib()}});
    if (asked.out.empty()) return 0;
    const json protocol{
        {"rounds", asked.rounds}, {"calls", asked.calls}, {"threads", 1}, {"affinity", json::array()}};
    json result{{"schema", "slide-export/result/1"}, {"measured", began}};
    result.update({{"environment", environment(gpu)}, {"protocol", protocol}, {"runs", json::array({run})}});
    write(asked.out, result);
    std::printf("%s\n", asked.out.c_str());
    return 0;
}

int main(int count, char** words) {
    try {
        return bench(parse({words + 1, words + count}));
    } catch (const NotHere& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 3;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 2;
    }
}
