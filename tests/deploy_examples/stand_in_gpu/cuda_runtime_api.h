// A stand-in for a GPU, for tests: the functions of the CUDA runtime that the example calls, on host memory.
#pragma once

#include <chrono>
#include <cstdlib>
#include <cstring>

using Clock = std::chrono::steady_clock;
using cudaStream_t = int*;
using cudaEvent_t = Clock::time_point*;
enum cudaError_t { cudaSuccess = 0, cudaErrorNoDevice = 100 };
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };
struct cudaDeviceProp {
    char name[256];
};

inline const char* cudaGetErrorString(cudaError_t error) { return error ? "no CUDA-capable device is detected" : "no error"; }

inline cudaError_t cudaGetDeviceCount(int* count) {
    *count = std::getenv("STAND_IN") ? 1 : 0;
    return *count ? cudaSuccess : cudaErrorNoDevice;
}

inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
    std::strcpy(properties->name, "stand-in");
    return cudaSuccess;
}

inline cudaError_t cudaStreamCreate(cudaStream_t* stream) { return *stream = new int, cudaSuccess; }
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) { return delete stream, cudaSuccess; }
inline cudaError_t cudaEventCreate(cudaEvent_t* event) { return *event = new Clock::time_point, cudaSuccess; }
inline cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete event, cudaSuccess; }
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) { return *event = Clock::now(), cudaSuccess; }
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }

inline cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end) {
    *ms = std::chrono::duration<float, std::milli>(*end - *start).count();
    return cudaSuccess;
}

inline cudaError_t cudaMalloc(void** place, std::size_t size) { return *place = std::malloc(size), cudaSuccess; }
inline cudaError_t cudaFree(void* place) { return std::free(place), cudaSuccess; }

inline cudaError_t cudaMemcpy(void* to, const void* from, std::size_t size, cudaMemcpyKind) {
    return std::memcpy(to, from, size), cudaSuccess;
}
