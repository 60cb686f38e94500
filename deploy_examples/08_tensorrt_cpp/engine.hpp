// A TensorRT engine: built from an ONNX graph, run, timed. The same code serves TensorRT and TensorRT for RTX.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <NvInfer.h>
#include <NvOnnxParser.h>
#include <cuda_runtime_api.h>

#include "bundle.hpp"

// This machine lacks the GPU.
struct NotHere : std::runtime_error {
    using std::runtime_error::runtime_error;
};

inline void call(cudaError_t error, const char* what) {
    if (error != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

class Logger : public nvinfer1::ILogger {
    void log(Severity severity, const char* message) noexcept override {
        if (severity <= Severity::kWARNING) std::fprintf(stderr, "TensorRT: %s\n", message);
    }
};

// Returns the name and version of the library that is loaded; TensorRT for RTX counts from 1 on.
inline std::string version() {
    const std::string name = getInferLibMajorVersion() < 10 ? "TensorRT for RTX " : "TensorRT ";
    return name + std::to_string(getInferLibMajorVersion()) + "." + std::to_string(getInferLibMinorVersion()) + "." +
           std::to_string(getInferLibPatchVersion());
}

template <typename T>
std::unique_ptr<T> own(T* made, const char* what) {
    if (!made) throw BadInput(std::string("expected ") + what + ", TensorRT gave none: its reason stands above");
    return std::unique_ptr<T>(made);
}

// How an engine is built. A batch is dynamic or fixed by the graph; `timing_cache` is a file, "" keeps none.
struct Plan {
    int smallest, usual, largest;
    bool tf32;
    std::string timing_cache;
};

// Returns the serialized engine of a graph; its types are the graph's own, for the network is strongly typed.
inline std::unique_ptr<nvinfer1::IHostMemory> build(Logger& logger, const std::string& graph, const Plan& plan) {
    using namespace nvinfer1;
    const auto builder = own(createInferBuilder(logger), "a builder");
#if NV_TENSORRT_MAJOR > 10
    const std::uint32_t typed = 0;  // there is nothing else
#else
    const std::uint32_t typed = 1U << static_cast<std::uint32_t>(NetworkDefinitionCreationFlag::kSTRONGLY_TYPED);
#endif
    const auto network = own(builder->createNetworkV2(typed), "a network");
    const auto parser = own(nvonnxparser::createParser(*network, logger), "a parser");
    if (!parser->parse(graph.data(), graph.size()))
        throw BadInput(std::string("expected a graph that the parser takes, it says: ") + parser->getError(0)->desc());
    const auto config = own(builder->createBuilderConfig(), "a configuration");
    if (plan.tf32) config->setFlag(BuilderFlag::kTF32);
    else config->clearFlag(BuilderFlag::kTF32);  // it is on by default
    Dims shape = network->getInput(0)->getDimensions();
    if (shape.d[0] == -1) {
        IOptimizationProfile* profile = builder->createOptimizationProfile();  // the builder's own
        for (const auto& [selector, batch] : {std::pair(OptProfileSelector::kMIN, plan.smallest),
                                              std::pair(OptProfileSelector::kOPT, plan.usual),
                                              std::pair(OptProfileSelector::kMAX, plan.largest)}) {
            shape.d[0] = batch;
            profile->setDimensions(network->getInput(0)->getName(), selector, shape);
        }
        config->addOptimizationProfile(profile);
    }
    std::unique_ptr<ITimingCache> cache;  // must outlive the build
    if (!plan.timing_cache.empty()) {
        const std::string known = std::filesystem::exists(plan.timing_cache) ? read_file(plan.timing_cache) : "";
        cache = own(config->createTimingCache(known.data(), known.size()), "a timing cache");
        config->setTimingCache(*cache, false);
    }
    auto made = own(builder->buildSerializedNetwork(*network, *config), "an engine");
    if (cache) {
        const auto timings = own(cache->serialize(), "timings");
        std::ofstream file(plan.timing_cache, std::ios::binary);
        file.write(static_cast<const char*>(timings->data()), std::streamsize(timings->size()));
    }
    return made;
}

// A plan on the GPU: `bind` places a batch there, `run` computes, `outputs` brings the answers back.
class Engine {
public:
    Engine(Logger& logger, const nvinfer1::IHostMemory& plan)
        : runtime_(own(nvinfer1::createInferRuntime(logger), "a runtime")),
          engine_(own(runtime_->deserializeCudaEngine(plan.data(), plan.size()), "a plan that loads on this GPU")),
          context_(own(engine_->createExecutionContext(), "memory for the engine")) {
        call(cudaStreamCreate(&stream_), "cudaStreamCreate");
        call(cudaEventCreate(&start_), "cudaEventCreate");
        call(cudaEventCreate(&end_), "cudaEventCreate");
    }

    ~Engine() {
        cudaEventDestroy(start_);
        cudaEventDestroy(end_);
        cudaStreamDestroy(stream_);
    }

    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    // Places a batch of images on the GPU, and makes room for the outputs.
    void bind(const std::string& images, std::size_t batch) {
        for (std::int32_t i = 0; i < engine_->getNbIOTensors(); ++i)  // inputs first, for they give outputs their shape
            if (const char* name = engine_->getIOTensorName(i); is_input(name)) {
                nvinfer1::Dims shape = engine_->getTensorShape(name);
                shape.d[0] = static_cast<std::int64_t>(batch);
                if (!context_->setInputShape(name, shape))
                    throw BadInput("expected a batch within the engine's profile, found " + std::to_string(batch));
                void* place = make_room(name, images.size());
                call(cudaMemcpy(place, images.data(), images.size(), cudaMemcpyHostToDevice), "cudaMemcpy");
            }
        for (std::int32_t i = 0; i < engine_->getNbIOTensors(); ++i)
            if (const char* name = engine_->getIOTensorName(i); !is_input(name))
                make_room(name, count(name) * sizeof(float));
    }

    // Returns the milliseconds between two events around one call, on the GPU's own clock; copies are not in it.
    float run() {
        call(cudaEventRecord(start_, stream_), "cudaEventRecord");
        if (!context_->enqueueV3(stream_)) throw std::runtime_error("TensorRT did not start the engine");
        call(cudaEventRecord(end_, stream_), "cudaEventRecord");
        call(cudaEventSynchronize(end_), "cudaEventSynchronize");
        float ms = 0;
        call(cudaEventElapsedTime(&ms, start_, end_), "cudaEventElapsedTime");
        return ms;
    }

    // Returns the values of an output of the last call.
    std::vector<float> output(const std::string& name) const {
        if (engine_->getTensorDataType(name.c_str()) != nvinfer1::DataType::kFLOAT)
            throw BadInput("expected outputs in float32, " + name + " is in another type");
        std::vector<float> values(count(name.c_str()));
        const std::size_t size = values.size() * sizeof(float);
        call(cudaMemcpy(values.data(), buffers_.at(name).get(), size, cudaMemcpyDeviceToHost), "cudaMemcpy");
        return values;
    }

private:
    struct Free {
        void operator()(void* place) const { cudaFree(place); }
    };

    bool is_input(const char* name) const { return engine_->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT; }

    std::size_t count(const char* name) const {
        const nvinfer1::Dims shape = context_->getTensorShape(name);
        std::size_t values = 1;
        for (std::int32_t i = 0; i < shape.nbDims; ++i) values *= static_cast<std::size_t>(shape.d[i]);
        return values;
    }

    void* make_room(const char* name, std::size_t size) {
        void* made = nullptr;
        call(cudaMalloc(&made, size), "cudaMalloc");
        buffers_[name].reset(made);
        context_->setTensorAddress(name, made);
        return made;
    }

    std::unique_ptr<nvinfer1::IRuntime> runtime_;  // must outlive the engine
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    std::unique_ptr<nvinfer1::IExecutionContext> context_;
    std::map<std::string, std::unique_ptr<void, Free>> buffers_;
    cudaStream_t stream_ = nullptr;
    cudaEvent_t start_ = nullptr, end_ = nullptr;
};
