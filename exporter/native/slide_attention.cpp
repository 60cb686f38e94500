// The core of slide attention as one operator, for ONNX Runtime and for OpenVINO.
//
// From queries, keys and values in token layout to what is attended, with h a head, p a position, o and j taps of the
// k*k neighbourhood in the order row * k + column, T = k * k, and o != middle where a tap is relative to the middle
// one:
//
//     logit[o] = sum_c q[c] (sum_j keys[o][j][c] k[p + j][c] + key_bias[h][o][c])           the middle tap's is 0
//     out[c]   = V[middle][c] + sum_o softmax(logit)[o] V[o][c]
//     V[o][c]  = sum_j values[h][o][j][c] v[p + j][c] + value_bias[h][o][c]
//
// Outside the map k and v are 0, and the tap takes part with its bias. Inputs, float32, but for qkv and out, which may
// be bfloat16 under OpenVINO: keys, values and their weights are then rounded to it and summed in float32.
//
//     qkv         [B, H, W, 3 * nH * d]   channels in the order (q|k|v, head, channel), q scaled
//     keys        [T - 1, T, d]           of every head
//     key_bias    [nH, T - 1, d]
//     values      [nH or 1, T, T, d]      the middle tap first, then the others relative to it
//     value_bias  [nH or 1, T, d]
//     out         [B, H, W, nH * d]
//
// Built with -DSLIDE_ONNXRUNTIME or -DSLIDE_OPENVINO by GCC 12 or Clang, for any processor: the arithmetic is compiled
// for vectors of 16, 8, 4 floats and 1, and the widest that the processor has is taken when it runs. Bfloat16 needs
// AVX512_BF16 and a multiple of 16 channels a head.

#ifndef SLIDE_LANES

#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

namespace {

struct Shape {
  int64_t images, rows, cols, heads, width, side;  // side: k
  bool each_head;                                  // whether values have a convolution for each head
  int64_t taps() const { return side * side; }
};

struct Tensors {
  const void* qkv;  // float, or uint16_t that hold bfloat16; as `out`
  const float *keys, *key_bias, *values, *value_bias;
  void* out;
};

// Rows of one head of one image, and room to work in.
struct Strip {
  Shape shape;
  Tensors at;
  int64_t image, head, first, last;
  float* room;
};

constexpr int64_t TILE = 4;     // positions that are computed together
constexpr int64_t WIDEST = 16;  // floats of the widest vector
constexpr int64_t LARGEST_SIDE = 15;
constexpr int64_t LINE = 64;        // bytes of a cache line
constexpr int64_t STRIP = 1 << 14;  // about how many elements of the result a strip has

int64_t up_to(int64_t number, int64_t step) { return (number + step - 1) / step * step; }

// Weights and biases, both [vector of channels][tap][...].
struct Part {
  const float *weights, *bias;
};

// Positions of a row: `side / 2` zeros on the left, as many and those of a tile on the right.
int64_t plane(const Shape& shape) { return up_to(shape.cols, TILE) + shape.side - 1; }

int64_t map_row(const Shape& shape) { return up_to(plane(shape) * shape.width, LINE / sizeof(float)); }

int64_t logit_row(const Shape& shape) { return up_to(shape.cols, WIDEST); }

int64_t weights_of(const Shape& shape) { return (2 * shape.taps() - 1) * (shape.taps() + 1) * shape.width; }

// Pairs of taps that cover the neighbourhood: of rows, and in the last row of columns.
constexpr int64_t pairs_of(int64_t side) { return side / 2 * side + (side + 1) / 2; }

int64_t room_of(const Shape& shape) {
  const int64_t step = LINE / sizeof(float), pointers = 2 * shape.taps() * shape.width * sizeof(float*) / sizeof(float);
  return (2 * shape.side + 2) * map_row(shape) + shape.taps() * logit_row(shape) + up_to(weights_of(shape), step) +
         pointers;
}

// Positions whose keys stay in the nearest cache beside all weights of the keys.
int64_t near(int64_t width) { return width <= 32 ? 28 : 12; }

int64_t rows_of_a_strip(const Shape& shape) {
  const int64_t rows = STRIP / (shape.cols * shape.width);
  return rows < 1 ? 1 : rows > shape.rows ? shape.rows : rows;
}

int64_t strips_of(const Shape& shape) {
  const int64_t rows = rows_of_a_strip(shape);
  return shape.images * shape.heads * ((shape.rows + rows - 1) / rows);
}

}  // namespace

#define SLIDE_JOIN_(name, set) name##_##set
#define SLIDE_JOIN(name, set) SLIDE_JOIN_(name, set)
#define SLIDE_NAME(name) SLIDE_JOIN(name, SLIDE_SET)

#if defined(__clang__)
#define SLIDE_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define SLIDE_UNROLL _Pragma("GCC unroll 16")
#else
#error "expected GCC or Clang, whose vector types this file is written in"
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx512bf16,avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx512bf16,avx2,fma,prefer-vector-width=512")
#endif
#define SLIDE_LANES 16
#define SLIDE_SET pairs
#define SLIDE_PAIRS
#include __FILE__
#undef SLIDE_PAIRS
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,prefer-vector-width=512")
#endif
#define SLIDE_LANES 16
#define SLIDE_SET avx512
#include __FILE__
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define SLIDE_LANES 8
#define SLIDE_SET avx2
#include __FILE__
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
#define SLIDE_LANES 4
#define SLIDE_SET plain
#include __FILE__
#define SLIDE_LANES 1
#define SLIDE_SET single
#include __FILE__

namespace {

using Attend = void (*)(const Strip&);

// The widest vectors that this processor has and that fill a head's channels; nullptr where it has none for bfloat16.
Attend attend_for(int64_t width, bool half) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (half) return width % 16 == 0 && __builtin_cpu_supports("avx512bf16") ? attend_pairs : nullptr;
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  if (avx512 && width % 16 == 0) return attend_avx512;
  if (avx2 && width % 8 == 0) return attend_avx2;
#endif
  return half ? nullptr : width % 4 == 0 ? attend_plain : attend_single;
}

// Memory of a thread, kept from one call to the next.
class Room {
 public:
  ~Room() { release(); }
  float* of(int64_t floats) {
    if (floats > size_) {
      release();
      data_ = static_cast<float*>(::operator new(floats * sizeof(float), std::align_val_t(LINE)));
      size_ = floats;
    }
    return data_;
  }

 private:
  void release() {
    if (data_ != nullptr) ::operator delete(data_, std::align_val_t(LINE));
    data_ = nullptr;
    size_ = 0;
  }
  float* data_ = nullptr;
  int64_t size_ = 0;
};

// One call of the operator, whose strips may be computed in any order by any thread.
struct Work {
  Shape shape;
  Tensors at;
  Attend attend;

  Work(const Shape& of, const Tensors& tensors, bool half = false)
      : shape(of), at(tensors), attend(attend_for(of.width, half)) {}

  int64_t strips() const { return shape.images && shape.rows && shape.cols ? strips_of(shape) : 0; }

  void compute(int64_t number) const {
    static thread_local Room room;
    const int64_t rows = rows_of_a_strip(shape), parts = (shape.rows + rows - 1) / rows;
    const int64_t part = number % parts, head = number / parts % shape.heads, first = part * rows;
    const int64_t last = first + rows < shape.rows ? first + rows : shape.rows;
    attend(Strip{shape, at, number / parts / shape.heads, head, first, last, room.of(room_of(shape))});
  }
};

// Why shapes do not fit each other, nullptr where they do. A size of -1 is not known yet.
const char* misfit(const int64_t (&qkv)[4], const int64_t* keys, const int64_t* key_bias, const int64_t* values,
                   const int64_t* value_bias, int64_t heads, int64_t side) {
  if (heads < 1 || side < 3 || side % 2 == 0 || side > LARGEST_SIDE)
    return "expected heads of 1 or more and an odd kernel_size of 3 to 15";
  const int64_t taps = side * side, width = keys[2], each = values[0];
  if (keys[0] != taps - 1 || keys[1] != taps || width < 1) return "expected keys [T - 1, T, d]";
  if (qkv[3] != -1 && qkv[3] != 3 * heads * width) return "expected qkv [B, H, W, 3 * heads * d]";
  if (key_bias[0] != heads || key_bias[1] != taps - 1 || key_bias[2] != width)
    return "expected key_bias [heads, T - 1, d]";
  if ((each != 1 && each != heads) || values[1] != taps || values[2] != taps || values[3] != width)
    return "expected values [heads or 1, T, T, d]";
  if (value_bias[0] != each || value_bias[1] != taps || value_bias[2] != width)
    return "expected value_bias [heads or 1, T, d], as many as values";
  return nullptr;
}

Shape shape_of(const int64_t* qkv, const int64_t* keys, const int64_t* values, int64_t heads, int64_t side) {
  return Shape{qkv[0], qkv[1], qkv[2], heads, keys[2], side, values[0] == heads && heads > 1};
}

}  // namespace

#ifdef SLIDE_ONNXRUNTIME

#include <onnxruntime_c_api.h>

#if ORT_API_VERSION < 18
#error "expected the headers of ONNX Runtime 1.18 or newer"
#endif

namespace {

constexpr uint32_t ORT_API = 18;  // what is used of it is in every version from 1.18 on

struct Kernel {
  const OrtApi* api;
  int64_t heads, side;
};

OrtStatusPtr create(const OrtCustomOp*, const OrtApi* api, const OrtKernelInfo* info, void** made) {
  std::unique_ptr<Kernel> kernel(new (std::nothrow) Kernel{api, 0, 0});
  if (!kernel) return api->CreateStatus(ORT_FAIL, "SlideAttention: no memory");
  if (OrtStatusPtr bad = api->KernelInfoGetAttribute_int64(info, "heads", &kernel->heads)) return bad;
  if (OrtStatusPtr bad = api->KernelInfoGetAttribute_int64(info, "kernel_size", &kernel->side)) return bad;
  *made = kernel.release();
  return nullptr;
}

// Sizes of a tensor, which has to have `rank` of them.
OrtStatusPtr sizes_of(const OrtApi* api, const OrtValue* value, size_t rank, int64_t* sizes) {
  OrtTensorTypeAndShapeInfo* info = nullptr;
  if (OrtStatusPtr bad = api->GetTensorTypeAndShape(value, &info)) return bad;
  size_t found = 0;
  OrtStatusPtr bad = api->GetDimensionsCount(info, &found);
  if (bad == nullptr && found != rank) bad = api->CreateStatus(ORT_INVALID_ARGUMENT, "SlideAttention: an input's rank");
  if (bad == nullptr) bad = api->GetDimensions(info, sizes, rank);
  api->ReleaseTensorTypeAndShapeInfo(info);
  return bad;
}

void compute_one(void* work, size_t number) { static_cast<const Work*>(work)->compute(static_cast<int64_t>(number)); }

OrtStatusPtr compute(void* made, OrtKernelContext* context) {
  const Kernel& kernel = *static_cast<const Kernel*>(made);
  const OrtApi* api = kernel.api;
  constexpr size_t RANKS[5] = {4, 3, 3, 4, 3};
  int64_t sizes[5][4] = {};
  const float* data[5] = {};
  for (size_t index = 0; index < 5; ++index) {
    const OrtValue* value = nullptr;
    if (OrtStatusPtr bad = api->KernelContext_GetInput(context, index, &value)) return bad;
    if (OrtStatusPtr bad = sizes_of(api, value, RANKS[index], sizes[index])) return bad;
    void* found = nullptr;
    if (OrtStatusPtr bad = api->GetTensorMutableData(const_cast<OrtValue*>(value), &found)) return bad;
    data[index] = static_cast<const float*>(found);
  }
  if (const char* why = misfit(sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], kernel.heads, kernel.side))
    return api->CreateStatus(ORT_INVALID_ARGUMENT, why);
  const Shape shape = shape_of(sizes[0], sizes[1], sizes[3], kernel.heads, kernel.side);
  const int64_t wanted[4] = {shape.images, shape.rows, shape.cols, shape.heads * shape.width};
  OrtValue* result = nullptr;
  if (OrtStatusPtr bad = api->KernelContext_GetOutput(context, 0, wanted, 4, &result)) return bad;
  void* out = nullptr;
  if (OrtStatusPtr bad = api->GetTensorMutableData(result, &out)) return bad;
  Work work(shape, Tensors{data[0], data[1], data[2], data[3], data[4], out});
  return api->KernelContext_ParallelFor(context, compute_one, static_cast<size_t>(work.strips()), 0, &work);
}

OrtCustomOp described() {
  OrtCustomOp op = {};
  op.version = ORT_API;
  op.GetName = [](const OrtCustomOp*) { return "SlideAttention"; };
  op.GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return nullptr; };  // the CPU's
  op.GetInputTypeCount = [](const OrtCustomOp*) -> size_t { return 5; };
  op.GetOutputTypeCount = [](const OrtCustomOp*) -> size_t { return 1; };
  op.GetInputType = [](const OrtCustomOp*, size_t) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; };
  op.GetOutputType = [](const OrtCustomOp*, size_t) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; };
  op.GetInputCharacteristic = [](const OrtCustomOp*, size_t) { return INPUT_OUTPUT_REQUIRED; };
  op.GetOutputCharacteristic = [](const OrtCustomOp*, size_t) { return INPUT_OUTPUT_REQUIRED; };
  op.GetInputMemoryType = [](const OrtCustomOp*, size_t) { return OrtMemTypeDefault; };
  op.GetVariadicInputMinArity = [](const OrtCustomOp*) { return 0; };
  op.GetVariadicInputHomogeneity = [](const OrtCustomOp*) { return 0; };
  op.GetVariadicOutputMinArity = [](const OrtCustomOp*) { return 0; };
  op.GetVariadicOutputHomogeneity = [](const OrtCustomOp*) { return 0; };
  op.CreateKernelV2 = create;
  op.KernelComputeV2 = compute;
  op.KernelDestroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
  op.GetStartVersion = [](const OrtCustomOp*) { return 1; };
  op.GetEndVersion = [](const OrtCustomOp*) { return INT32_MAX; };
  return op;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) OrtStatusPtr RegisterCustomOps(OrtSessionOptions* options,
                                                                                 const OrtApiBase* base) {
  static const OrtCustomOp op = described();
  const OrtApi* api = base->GetApi(ORT_API);
  if (api == nullptr) return base->GetApi(1)->CreateStatus(ORT_FAIL, "expected ONNX Runtime 1.18 or newer");
  OrtCustomOpDomain* domain = nullptr;
  if (OrtStatusPtr bad = api->CreateCustomOpDomain("slide_export", &domain)) return bad;
  if (OrtStatusPtr bad = api->CustomOpDomain_Add(domain, &op)) return bad;
  return api->AddCustomOpDomain(options, domain);  // the domain lives as long as the library, which is never unloaded
}

#endif  // SLIDE_ONNXRUNTIME

#ifdef SLIDE_OPENVINO

#include <openvino/core/extension.hpp>
#include <openvino/core/op_extension.hpp>
#include <openvino/frontend/onnx/extension/op.hpp>
#include <openvino/op/op.hpp>
#include <tbb/parallel_for.h>

namespace {

class SlideAttention : public ov::op::Op {
 public:
  OPENVINO_OP("SlideAttention", "slide_export");

  SlideAttention() = default;
  SlideAttention(const ov::OutputVector& inputs, int64_t heads, int64_t side) : Op(inputs), heads_(heads), side_(side) {
    constructor_validate_and_infer_types();
  }

  void validate_and_infer_types() override {
    OPENVINO_ASSERT(get_input_size() == 5, "SlideAttention: expected 5 inputs, found ", get_input_size());
    for (size_t index = 0; index < 5; ++index) {
      const auto& kind = get_input_element_type(index);
      const bool half = index == 0 && kind == ov::element::bf16;
      OPENVINO_ASSERT(half || kind == ov::element::f32 || kind.is_dynamic(), "SlideAttention: expected f32, found ",
                      kind);
    }
    const ov::PartialShape& qkv = get_input_partial_shape(0);
    OPENVINO_ASSERT(qkv.rank().is_dynamic() || qkv.size() == 4, "SlideAttention: expected qkv [B, H, W, 3C], found ",
                    qkv);
    ov::PartialShape out = ov::PartialShape::dynamic(4);
    if (qkv.rank().is_static()) {
      out = qkv;
      if (qkv[3].is_static()) out[3] = qkv[3].get_length() / 3;
    }
    set_output_type(0, get_input_element_type(0), out);
  }

  std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& inputs) const override {
    return std::make_shared<SlideAttention>(inputs, heads_, side_);
  }

  bool visit_attributes(ov::AttributeVisitor& visitor) override {
    visitor.on_attribute("heads", heads_);
    visitor.on_attribute("kernel_size", side_);
    return true;
  }

  bool has_evaluate() const override { return true; }

  bool evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const override {
    int64_t sizes[5][4] = {};
    for (size_t index = 0; index < 5; ++index) {
      const ov::Shape& shape = inputs[index].get_shape();
      OPENVINO_ASSERT(shape.size() == (index == 0 || index == 3 ? 4 : 3), "SlideAttention: rank of input ", index);
      for (size_t axis = 0; axis < shape.size(); ++axis) sizes[index][axis] = static_cast<int64_t>(shape[axis]);
    }
    const char* why = misfit(sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], heads_, side_);
    OPENVINO_ASSERT(why == nullptr, "SlideAttention: ", why);
    const Shape shape = shape_of(sizes[0], sizes[1], sizes[3], heads_, side_);
    auto size = [](int64_t number) { return static_cast<size_t>(number); };
    outputs[0].set_shape({size(shape.images), size(shape.rows), size(shape.cols), size(shape.heads * shape.width)});
    const bool half = inputs[0].get_element_type() == ov::element::bf16;
    const Work work(shape,
                    Tensors{inputs[0].data(), inputs[1].data<const float>(), inputs[2].data<const float>(),
                            inputs[3].data<const float>(), inputs[4].data<const float>(), outputs[0].data()},
                    half);
    OPENVINO_ASSERT(work.attend != nullptr,
                    "SlideAttention: bfloat16 needs AVX512_BF16 and a multiple of 16 channels a head");
    tbb::parallel_for(int64_t{0}, work.strips(), [&](int64_t number) { work.compute(number); });
    return true;
  }

 private:
  int64_t heads_ = 0, side_ = 0;
};

}  // namespace

OPENVINO_CREATE_EXTENSIONS(std::vector<ov::Extension::Ptr>(
    {std::make_shared<ov::OpExtension<SlideAttention>>(),
     std::make_shared<ov::frontend::onnx::OpExtension<SlideAttention>>("SlideAttention", "slide_export")}))

#endif  // SLIDE_OPENVINO

#else  // SLIDE_LANES: what follows is compiled once for each width of vectors

namespace {

#define LANES SLIDE_LANES
#define GROUP (LANES >= 4 ? LANES / 4 : 1)  // taps whose logits of a tile fill a vector
#define OUTER (LANES >= 8 ? LANES / 4 : 2)  // taps that are computed together: divides k * k - 1, a multiple of 8

typedef float SLIDE_NAME(Vector) __attribute__((vector_size(4 * LANES)));
typedef float SLIDE_NAME(Stored) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t SLIDE_NAME(Whole) __attribute__((vector_size(4 * LANES)));
#define Vector SLIDE_NAME(Vector)
#define Stored SLIDE_NAME(Stored)
#define Whole SLIDE_NAME(Whole)
#define INLINE static inline __attribute__((always_inline))

INLINE Vector SLIDE_NAME(load)(const float* from) { return *reinterpret_cast<const Stored*>(from); }
INLINE void SLIDE_NAME(store)(float* to, Vector value) { *reinterpret_cast<Stored*>(to) = value; }
INLINE Vector SLIDE_NAME(all)(float value) { return Vector{} + value; }
INLINE Vector SLIDE_NAME(larger)(Vector a, Vector b) { return a > b ? a : b; }

// e^x for x <= 0. Source: e^x = 2^n e^r with n = round(x / ln 2); Taylor's polynomial, |r| <= ln 2 / 2, ends below
// 1e-8.
INLINE Vector SLIDE_NAME(exponential)(Vector x) {
  x = SLIDE_NAME(larger)(x, SLIDE_NAME(all)(-87.0f));
  const float magic = 12582912.0f;  // 1.5 * 2^23: a sum with it is rounded to a whole number, in its low bits
  const Vector rounded = x * 1.44269504f + magic;
  const Vector n = rounded - magic;
  const Vector r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  Vector p = SLIDE_NAME(all)(1.0f / 5040);
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  return p * (Vector)(((Whole)rounded << 23) + 0x3f800000);
}

// Sums of the lanes of GROUP * TILE vectors, [tap][position], into rows of logits.
#if LANES == 1
INLINE void SLIDE_NAME(sum_lanes)(const Vector (*of)[TILE], float* logits, int64_t) {
  for (int p = 0; p < TILE; ++p) logits[p] = of[0][p][0];
}
#elif LANES == 4
INLINE void SLIDE_NAME(sum_lanes)(const Vector (*of)[TILE], float* logits, int64_t) {
  const Vector* a = of[0];
  const Vector x = __builtin_shufflevector(a[0], a[1], 0, 4, 1, 5) + __builtin_shufflevector(a[0], a[1], 2, 6, 3, 7);
  const Vector y = __builtin_shufflevector(a[2], a[3], 0, 4, 1, 5) + __builtin_shufflevector(a[2], a[3], 2, 6, 3, 7);
  SLIDE_NAME(store)(logits, __builtin_shufflevector(x, y, 0, 1, 4, 5) + __builtin_shufflevector(x, y, 2, 3, 6, 7));
}
#elif LANES == 8
INLINE Vector SLIDE_NAME(halves)(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13) +
         __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
}
INLINE Vector SLIDE_NAME(quarters)(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13) +
         __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
}
INLINE void SLIDE_NAME(sum_lanes)(const Vector (*of)[TILE], float* logits, int64_t row) {
  Vector tap[2];
  for (int o = 0; o < 2; ++o)
    tap[o] = SLIDE_NAME(quarters)(SLIDE_NAME(halves)(of[o][0], of[o][1]), SLIDE_NAME(halves)(of[o][2], of[o][3]));
  const Vector sums = __builtin_shufflevector(tap[0], tap[1], 0, 1, 2, 3, 8, 9, 10, 11) +
                      __builtin_shufflevector(tap[0], tap[1], 4, 5, 6, 7, 12, 13, 14, 15);
  std::memcpy(logits, &sums, 16);
  std::memcpy(logits + row, reinterpret_cast<const char*>(&sums) + 16, 16);
}
#else
INLINE Vector SLIDE_NAME(halves)(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29) +
         __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
}
INLINE Vector SLIDE_NAME(quarters)(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
         __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
}
INLINE Vector SLIDE_NAME(blocks)(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
         __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
}
INLINE void SLIDE_NAME(sum_lanes)(const Vector (*of)[TILE], float* logits, int64_t row) {
  Vector tap[4];
  SLIDE_UNROLL
  for (int o = 0; o < 4; ++o)
    tap[o] = SLIDE_NAME(quarters)(SLIDE_NAME(halves)(of[o][0], of[o][1]), SLIDE_NAME(halves)(of[o][2], of[o][3]));
  const Vector sums = SLIDE_NAME(blocks)(SLIDE_NAME(blocks)(tap[0], tap[1]), SLIDE_NAME(blocks)(tap[2], tap[3]));
  SLIDE_UNROLL
  for (int o = 0; o < 4; ++o) std::memcpy(logits + o * row, reinterpret_cast<const char*>(&sums) + 16 * o, 16);
}
#endif

#ifdef SLIDE_PAIRS
typedef uint16_t SLIDE_NAME(Element);
#define Element SLIDE_NAME(Element)
#define STEPS(side) pairs_of(side)  // products that a tap is summed of
INLINE Vector SLIDE_NAME(fetch)(const Element* from) {
  return (Vector)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from)), 16);
}
INLINE __m512i SLIDE_NAME(rounded)(Vector value) {  // to the nearest bfloat16, the even one of two, in the upper halves
  const __m512i bits = (__m512i)value, even = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  return _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), even);
}
INLINE void SLIDE_NAME(give)(Element* to, Vector value) {
  _mm256_storeu_si256((__m256i*)to, _mm512_cvtepi32_epi16(_mm512_srli_epi32(SLIDE_NAME(rounded)(value), 16)));
}
INLINE Vector SLIDE_NAME(paired)(const Element* low, const Element* high) {  // each in a half of its lane
  return (Vector)_mm512_or_si512((__m512i)SLIDE_NAME(fetch)(high),
                                 _mm512_srli_epi32((__m512i)SLIDE_NAME(fetch)(low), 16));
}
INLINE Vector SLIDE_NAME(product)(Vector sum, Vector a, Vector b) {
  return (Vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}
#else
typedef float SLIDE_NAME(Element);
#define Element SLIDE_NAME(Element)
#define STEPS(side) ((side) * (side))
INLINE Vector SLIDE_NAME(fetch)(const Element* from) { return SLIDE_NAME(load)(from); }
INLINE void SLIDE_NAME(give)(Element* to, Vector value) { SLIDE_NAME(store)(to, value); }
INLINE Vector SLIDE_NAME(product)(Vector sum, Vector a, Vector b) { return sum + a * b; }
#endif

// A pointer for each step, or for each row: with few registers the one that is kept longer is better.
#if LANES == 16
#define EACH_STEP for (int64_t j = 0; j < STEPS(side); ++j)
#define SEEN seen[j]
#else
#define EACH_STEP                           \
  for (int64_t r = 0, j = 0; r < side; ++r) \
    for (int64_t s = 0; s < side; ++s, ++j)
#define SEEN (seen[r * side] + s * LANES)
#endif

// OUTER taps of TILE positions, of LANES channels: bias + sum over steps of weights[o][step] times the map there.
INLINE void SLIDE_NAME(convolve)(Vector (*to)[TILE], const float* weights, const float* bias, const float* const* seen,
                                 int64_t x, int64_t side) {
  SLIDE_UNROLL
  for (int o = 0; o < OUTER; ++o) {
    const Vector start = SLIDE_NAME(load)(bias + o * LANES);
    SLIDE_UNROLL
    for (int p = 0; p < TILE; ++p) to[o][p] = start;
  }
  EACH_STEP {
    Vector w[OUTER];
    SLIDE_UNROLL
    for (int o = 0; o < OUTER; ++o) w[o] = SLIDE_NAME(load)(weights + (o * STEPS(side) + j) * LANES);
    SLIDE_UNROLL
    for (int p = 0; p < TILE; ++p) {
      const Vector at = SLIDE_NAME(load)(SEEN + (x + p) * LANES);
      SLIDE_UNROLL
      for (int o = 0; o < OUTER; ++o) to[o][p] = SLIDE_NAME(product)(to[o][p], w[o], at);
    }
  }
}

// Logits of the positions from `first` to `last` of a row, [tap][position].
INLINE void SLIDE_NAME(compare)(const Shape& shape, const Element* q, const Part& keys, const float* const* seen,
                                float* logits, int64_t first, int64_t last, int64_t width, int64_t side) {
  const int64_t others = side * side - 1, position = 3 * shape.heads * width, row = logit_row(shape),
                steps = STEPS(side);
  for (int64_t x = first; x < last; x += TILE) {
    const Element* query[TILE];
    for (int p = 0; p < TILE; ++p) query[p] = q + (x + p < shape.cols ? x + p : shape.cols - 1) * position;
    for (int64_t o = 0; o < others; o += OUTER) {
      Vector sums[OUTER][TILE] = {};
      for (int64_t c = 0; c < width / LANES; ++c) {
        Vector found[OUTER][TILE];
        SLIDE_NAME(convolve)
        (found, keys.weights + (c * others + o) * steps * LANES, keys.bias + (c * others + o) * LANES, seen + c * steps,
         x, side);
        SLIDE_UNROLL
        for (int p = 0; p < TILE; ++p) {
          const Vector of = SLIDE_NAME(fetch)(query[p] + c * LANES);
          SLIDE_UNROLL
          for (int i = 0; i < OUTER; ++i) sums[i][p] += of * found[i][p];
        }
      }
      for (int i = 0; i < OUTER; i += GROUP) SLIDE_NAME(sum_lanes)(sums + i, logits + (o + i) * row + x, row);
    }
  }
}

// Softmax over the taps of each position in place; the middle tap's logit is 0, and its weight is not kept.
INLINE void SLIDE_NAME(weigh)(const Shape& shape, float* logits, int64_t side) {
  const int64_t others = side * side - 1, row = logit_row(shape);
  for (int64_t x = 0; x < shape.cols; x += LANES) {
    Vector top = {};
    for (int64_t o = 0; o < others; ++o) top = SLIDE_NAME(larger)(top, SLIDE_NAME(load)(logits + o * row + x));
    Vector sum = SLIDE_NAME(exponential)(-top);
    for (int64_t o = 0; o < others; ++o) {
      const Vector weight = SLIDE_NAME(exponential)(SLIDE_NAME(load)(logits + o * row + x) - top);
      SLIDE_NAME(store)(logits + o * row + x, weight);
      sum += weight;
    }
    const Vector share = 1.0f / sum;
    for (int64_t o = 0; o < others; ++o)
      SLIDE_NAME(store)(logits + o * row + x, SLIDE_NAME(load)(logits + o * row + x) * share);
  }
}

// Values of LANES channels of a row, summed with the weights of their taps.
INLINE void SLIDE_NAME(gather)(const Shape& shape, const float* weights, const float* bias, const float* const* seen,
                               const float* shares, Element* out, int64_t side) {
  const int64_t taps = side * side, stride = shape.heads * shape.width, row = logit_row(shape), steps = STEPS(side);
  for (int64_t x = 0; x < shape.cols; x += TILE) {
    Vector sums[TILE];
    const Vector start = SLIDE_NAME(load)(bias);
    SLIDE_UNROLL
    for (int p = 0; p < TILE; ++p) sums[p] = start;
    EACH_STEP {
      const Vector w = SLIDE_NAME(load)(weights + j * LANES);
      SLIDE_UNROLL
      for (int p = 0; p < TILE; ++p)
        sums[p] = SLIDE_NAME(product)(sums[p], w, SLIDE_NAME(load)(SEEN + (x + p) * LANES));
    }
    for (int64_t o = 0; o < taps - 1; o += OUTER) {
      Vector found[OUTER][TILE];
      SLIDE_NAME(convolve)(found, weights + (o + 1) * steps * LANES, bias + (o + 1) * LANES, seen, x, side);
      SLIDE_UNROLL
      for (int i = 0; i < OUTER; ++i) {
        SLIDE_UNROLL
        for (int p = 0; p < TILE; ++p) sums[p] += shares[(o + i) * row + x + p] * found[i][p];
      }
    }
    const int64_t left = shape.cols - x;
    for (int p = 0; p < TILE && p < left; ++p) SLIDE_NAME(give)(out + (x + p) * stride, sums[p]);
  }
}

// Rows of `width` channels as [LANES channels][row]: what is read together then lies together.
INLINE float* SLIDE_NAME(by_lanes)(const float* from, float* to, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t c = 0; c < width / LANES; ++c)
      SLIDE_NAME(store)(to + (c * rows + row) * LANES, SLIDE_NAME(load)(from + row * width + c * LANES));
  return to + rows * width;
}

#ifdef SLIDE_PAIRS

// Kernels [tap][k * k][width] as [LANES channels][tap][pair], each of a pair in a half of its lane.
INLINE float* SLIDE_NAME(arranged)(const float* from, float* to, int64_t taps, int64_t width, int64_t side) {
  const int64_t steps = STEPS(side);
  for (int64_t tap = 0; tap < taps; ++tap, from += side * side * width)
    for (int64_t c = 0; c < width / LANES; ++c)
      for (int64_t step = 0; step < steps; ++step) {
        const bool tall = step < side / 2 * side;
        const int64_t wide = step - side / 2 * side;  // of the last row, which pair of columns
        const int64_t one = tall ? step / side * 2 * side + step % side : (side - 1) * side + 2 * wide;
        const int64_t two = tall ? one + side : one + 1;
        const __m512i low = SLIDE_NAME(rounded)(SLIDE_NAME(load)(from + one * width + c * LANES));
        const __m512i high =
            two < side * side ? SLIDE_NAME(rounded)(SLIDE_NAME(load)(from + two * width + c * LANES)) : __m512i{};
        const __m512i upper = _mm512_set1_epi32(-65536);
        const __m512i pair = _mm512_or_si512(_mm512_srli_epi32(low, 16), _mm512_and_si512(high, upper));
        SLIDE_NAME(store)(to + ((c * taps + tap) * steps + step) * LANES, (Vector)pair);
      }
  return to + taps * steps * width;
}

// Keys or values around a row as pairs: a plane for each two rows, and one of neighbours in the last row.
INLINE void SLIDE_NAME(survey)(const Shape& shape, const Element* image, float* room, int64_t y, int64_t width,
                               int64_t side, const float** seen, int64_t) {
  static const Element outside[LANES] = {};
  const int64_t position = 3 * shape.heads * width, half = side / 2, size = plane(shape), row = map_row(shape);
  for (int64_t pair = 0; pair <= half; ++pair) {
    const int64_t upper = y - half + 2 * pair, right = pair == half ? 1 : 0, lower = upper + 1 - right;
    const bool one = upper >= 0 && upper < shape.rows, two = lower >= 0 && lower < shape.rows;
    for (int64_t c = 0; c < width / LANES; ++c) {
      const Element* low = one ? image + upper * shape.cols * position + c * LANES : outside;
      const Element* high = two ? image + (lower * shape.cols + right) * position + c * LANES : outside;
      float* to = room + pair * row + (c * size + half) * LANES;
      const int64_t steps[2] = {one ? position : 0, two ? position : 0};
      if (right) SLIDE_NAME(store)(to - LANES, SLIDE_NAME(paired)(outside, low));
      for (int64_t x = 0; x < shape.cols - right; ++x, to += LANES, low += steps[0], high += steps[1])
        SLIDE_NAME(store)(to, SLIDE_NAME(paired)(low, high));
      if (right) SLIDE_NAME(store)(to, SLIDE_NAME(paired)(low, outside));
    }
  }
  for (int64_t c = 0; c < width / LANES; ++c)
    for (int64_t step = 0; step < STEPS(side); ++step, ++seen) {
      const bool tall = step < half * side;
      *seen = room + (tall ? step / side : half) * row +
              (c * size + (tall ? step % side : 2 * (step - half * side))) * LANES;
    }
}

#else

// Kernels [tap][k * k][width] as [LANES channels][tap][k * k].
INLINE float* SLIDE_NAME(arranged)(const float* from, float* to, int64_t taps, int64_t width, int64_t side) {
  return SLIDE_NAME(by_lanes)(from, to, taps * side * side, width);
}

// Keys or values around a row: `side` rows of [LANES channels][position], zero outside of the map, that of y in the
// place y % side. Rows are copied once, in order: the next one of this strip is all that is missing.
INLINE void SLIDE_NAME(survey)(const Shape& shape, const Element* image, float* room, int64_t y, int64_t width,
                               int64_t side, const float** seen, int64_t first) {
  const int64_t position = 3 * shape.heads * width, half = side / 2, size = plane(shape), row = map_row(shape);
  const float* const zero = room + side * row;
  for (int64_t at = y == first ? y - half : y + half; at <= y + half; ++at) {
    if (at < 0 || at >= shape.rows) continue;
    for (int64_t x = 0; x < shape.cols; ++x)
      for (int64_t c = 0; c < width / LANES; ++c)
        SLIDE_NAME(store)
        (room + at % side * row + (c * size + half + x) * LANES,
         SLIDE_NAME(load)(image + (at * shape.cols + x) * position + c * LANES));
  }
  for (int64_t c = 0; c < width / LANES; ++c)
    for (int64_t r = 0; r < side; ++r)
      for (int64_t s = 0; s < side; ++s, ++seen) {
        const int64_t at = y - half + r;
        *seen = (at < 0 || at >= shape.rows ? zero : room + at % side * row) + (c * size + s) * LANES;
      }
}

#endif

INLINE void SLIDE_NAME(strip)(const Strip& strip, int64_t width, int64_t side) {
  const Shape& shape = strip.shape;
  const int64_t taps = side * side, row = map_row(shape), dim = shape.heads * width, position = 3 * dim,
                steps = STEPS(side);
  const int64_t vectors = width / LANES, of = shape.each_head ? strip.head : 0, block = near(width);
  float* const keys = strip.room;
  float* const values = keys + (side + 1) * row;
  float* const logits = values + (side + 1) * row;
  float* const weights = logits + taps * logit_row(shape);
  const float** const seen = reinterpret_cast<const float**>(weights + up_to(weights_of(shape), LINE / sizeof(float)));
  std::memset(keys, 0, (2 * side + 2) * row * sizeof(float));
  std::memset(logits, 0, taps * logit_row(shape) * sizeof(float));

  float* const key_bias = SLIDE_NAME(arranged)(strip.at.keys, weights, taps - 1, width, side);
  float* const w_values =
      SLIDE_NAME(by_lanes)(strip.at.key_bias + strip.head * (taps - 1) * width, key_bias, taps - 1, width);
  float* const b_values = SLIDE_NAME(arranged)(strip.at.values + of * taps * taps * width, w_values, taps, width, side);
  SLIDE_NAME(by_lanes)(strip.at.value_bias + of * taps * width, b_values, taps, width);

  const Element* image =
      (const Element*)strip.at.qkv + strip.image * shape.rows * shape.cols * position + strip.head * width;
  Element* out = (Element*)strip.at.out + strip.image * shape.rows * shape.cols * dim + strip.head * width;
  for (int64_t y = strip.first; y < strip.last; ++y) {
    SLIDE_NAME(survey)(shape, image + dim, keys, y, width, side, seen, strip.first);
    SLIDE_NAME(survey)(shape, image + 2 * dim, values, y, width, side, seen + vectors * steps, strip.first);
    const Element* q = image + y * shape.cols * position;
    for (int64_t x = 0; x < shape.cols; x += block) {
      const int64_t last = x + block < shape.cols ? x + block : shape.cols;
      SLIDE_NAME(compare)(shape, q, Part{weights, key_bias}, seen, logits, x, last, width, side);
    }
    SLIDE_NAME(weigh)(shape, logits, side);
    for (int64_t c = 0; c < vectors; ++c)
      SLIDE_NAME(gather)
      (shape, w_values + c * taps * steps * LANES, b_values + c * taps * LANES, seen + (vectors + c) * steps, logits,
       out + y * shape.cols * dim + c * LANES, side);
  }
}

// The sizes that models have are constants, so that loops over them are unrolled.
static void SLIDE_NAME(attend)(const Strip& strip) {
  const int64_t width = strip.shape.width;
  if (strip.shape.side == 3 && width == 32) return SLIDE_NAME(strip)(strip, 32, 3);
  if (strip.shape.side == 3 && width == 64) return SLIDE_NAME(strip)(strip, 64, 3);
  if (strip.shape.side == 3) return SLIDE_NAME(strip)(strip, width, 3);
  SLIDE_NAME(strip)(strip, width, strip.shape.side);
}

#undef LANES
#undef GROUP
#undef OUTER
#undef Vector
#undef Stored
#undef Whole
#undef STEPS
#undef EACH_STEP
#undef SEEN
#undef Element
#undef INLINE

}  // namespace

#undef SLIDE_LANES
#undef SLIDE_SET

#endif  // SLIDE_LANES
