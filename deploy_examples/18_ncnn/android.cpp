// The network behind a Kotlin class of an Android application, by JNI: assets in, logits out.
//
//     package slideexport.ncnn
//     class Network(assets: AssetManager) { external fun run(planes: FloatArray): FloatArray? }
//
// model.param and model.bin of the bundle lie in src/main/assets. Preprocessing is the manifest's, in Kotlin or here.

#include <jni.h>

#include <memory>
#include <string>
#include <vector>

#include <android/asset_manager_jni.h>
#include <ncnn/net.h>

#include "network.hpp"

namespace {
constexpr Sides kSides{3, 224, 224};  // of the manifest's input
std::unique_ptr<ncnn::Net> network;
}  // namespace

extern "C" jboolean Java_slideexport_ncnn_Network_open(JNIEnv* env, jobject, jobject assets) {
    AAssetManager* manager = AAssetManager_fromJava(env, assets);
    auto opened = std::make_unique<ncnn::Net>();
    exact(opened->opt, 2);  // two large cores; fp16 is off, as it was in the proof
    if (opened->load_param(manager, "model.param") != 0 || opened->load_model(manager, "model.bin") != 0)
        return JNI_FALSE;
    network = std::move(opened);
    return JNI_TRUE;
}

extern "C" jfloatArray Java_slideexport_ncnn_Network_run(JNIEnv* env, jobject, jfloatArray planes) {
    if (!network) return nullptr;
    std::string image(sizeof(float) * env->GetArrayLength(planes), '\0');
    env->GetFloatArrayRegion(planes, 0, env->GetArrayLength(planes), reinterpret_cast<jfloat*>(image.data()));
    try {
        const auto logits = infer(*network, image, false, kSides, "images", {"logits"}).at(0);
        jfloatArray found = env->NewFloatArray(static_cast<jsize>(logits.size()));
        env->SetFloatArrayRegion(found, 0, static_cast<jsize>(logits.size()), logits.data());
        return found;
    } catch (const std::exception&) {
        return nullptr;  // no exception of C++ may leave a native method
    }
}
