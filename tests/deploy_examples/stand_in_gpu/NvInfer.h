// A stand-in for TensorRT, for tests: its engine looks up the answer to each image that it is given.
//
// STAND_IN names a directory: `images` holds the known images, float32 [8, 3, 64, 64], and `answers` what to answer,
// float32 [8, 10]. An image that is not among them is answered with NaN.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <string>

#include <cuda_runtime_api.h>

#define NV_TENSORRT_MAJOR 10

inline int getInferLibMajorVersion() { return 10; }
inline int getInferLibMinorVersion() { return 12; }
inline int getInferLibPatchVersion() { return 0; }

namespace nvinfer1 {

constexpr std::int64_t IMAGES = 8, VALUES = 3 * 64 * 64, CLASSES = 10;

struct Dims {
    std::int32_t nbDims;
    std::int64_t d[8];
};
enum class DataType { kFLOAT, kHALF };
enum class TensorIOMode { kINPUT, kOUTPUT };
enum class OptProfileSelector { kMIN, kOPT, kMAX };
enum class BuilderFlag { kTF32 };
enum class NetworkDefinitionCreationFlag { kSTRONGLY_TYPED };

struct ILogger {
    enum class Severity { kINTERNAL_ERROR, kERROR, kWARNING, kINFO };
    virtual ~ILogger() = default;
    virtual void log(Severity severity, const char* message) noexcept = 0;
};

struct IHostMemory {
    std::string bytes;
    const void* data() const { return bytes.data(); }
    std::size_t size() const { return bytes.size(); }
};

struct ITimingCache {
    IHostMemory* serialize() { return new IHostMemory{"timings"}; }
};

struct ITensor {
    const char* getName() { return "images"; }
    Dims getDimensions() { return {4, {-1, 3, 64, 64}}; }
};

struct INetworkDefinition {
    ITensor input;
    ITensor* getInput(std::int32_t) { return &input; }
};

struct IOptimizationProfile {
    std::int64_t largest = 0;
    bool setDimensions(const char*, OptProfileSelector selector, const Dims& shape) {
        if (selector == OptProfileSelector::kMAX) largest = shape.d[0];
        return true;
    }
};

struct IBuilderConfig {
    std::int64_t largest = 0;
    void setFlag(BuilderFlag) {}
    void clearFlag(BuilderFlag) {}
    int addOptimizationProfile(const IOptimizationProfile* profile) { return largest = profile->largest, 0; }
    ITimingCache* createTimingCache(const void*, std::size_t) { return new ITimingCache; }
    bool setTimingCache(const ITimingCache&, bool) { return true; }
};

struct IBuilder {
    IOptimizationProfile profile;
    INetworkDefinition* createNetworkV2(std::uint32_t) { return new INetworkDefinition; }
    IBuilderConfig* createBuilderConfig() { return new IBuilderConfig; }
    IOptimizationProfile* createOptimizationProfile() { return &profile; }
    IHostMemory* buildSerializedNetwork(INetworkDefinition&, IBuilderConfig& config) {
        return new IHostMemory{std::to_string(config.largest)};
    }
};

inline std::string known(const char* name) {
    std::ifstream file(std::string(std::getenv("STAND_IN")) + "/" + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

struct IExecutionContext {
    std::int64_t largest = 0, batch = 0;
    std::map<std::string, void*> places;
    std::string images = known("images"), answers = known("answers");

    bool setInputShape(const char*, const Dims& shape) { return (batch = shape.d[0]) <= largest; }
    Dims getTensorShape(const char*) const { return {2, {batch, CLASSES}}; }
    bool setTensorAddress(const char* name, void* place) { return places[name] = place, true; }

    bool enqueueV3(cudaStream_t) {
        constexpr std::size_t in = VALUES * sizeof(float), out = CLASSES * sizeof(float);
        auto* answer = static_cast<float*>(places.at("logits"));
        for (std::int64_t row = 0; row < batch; ++row, answer += CLASSES) {
            std::fill(answer, answer + CLASSES, std::numeric_limits<float>::quiet_NaN());
            for (std::int64_t one = 0; one < IMAGES; ++one)
                if (!std::memcmp(&images[one * in], static_cast<char*>(places.at("images")) + row * in, in))
                    std::memcpy(answer, &answers[one * out], out);
        }
        return true;
    }
};

struct ICudaEngine {
    std::int64_t largest = 0;
    std::int32_t getNbIOTensors() { return 2; }
    const char* getIOTensorName(std::int32_t index) { return index ? "logits" : "images"; }
    TensorIOMode getTensorIOMode(const std::string& name) {
        return name == "images" ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
    }
    DataType getTensorDataType(const char*) { return DataType::kFLOAT; }
    Dims getTensorShape(const char*) { return {4, {-1, 3, 64, 64}}; }
    IExecutionContext* createExecutionContext() { return new IExecutionContext{largest}; }
};

struct IRuntime {
    ICudaEngine* deserializeCudaEngine(const void* data, std::size_t size) {
        return new ICudaEngine{std::stoll(std::string(static_cast<const char*>(data), size))};
    }
};

inline IBuilder* createInferBuilder(ILogger&) { return new IBuilder; }
inline IRuntime* createInferRuntime(ILogger&) { return new IRuntime; }

}  // namespace nvinfer1
