// The operator's arithmetic in each width of vectors, whatever the processor would choose, for ctypes.

#include <slide_attention.cpp>

// 0 where this processor has the instructions of a set, and its vectors fill a head's channels.
extern "C" __attribute__((visibility("default"))) int attend_with(const char* set, const int64_t* sizes, const void* const* inputs, void* out) {
  auto weights = [&](int index) { return static_cast<const float*>(inputs[index]); };
  Work work(Shape{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6] != 0},
            Tensors{inputs[0], weights(1), weights(2), weights(3), weights(4), out});
  const int64_t width = sizes[4];
  work.attend = nullptr;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!std::strcmp(set, "avx512") && width % 16 == 0 && __builtin_cpu_supports("avx512bw")) work.attend = attend_avx512;
  if (!std::strcmp(set, "pairs") && width % 16 == 0 && __builtin_cpu_supports("avx512bf16")) work.attend = attend_pairs;
  if (!std::strcmp(set, "avx2") && width % 8 == 0 && __builtin_cpu_supports("avx2")) work.attend = attend_avx2;
#endif
  if (!std::strcmp(set, "plain") && width % 4 == 0) work.attend = attend_plain;
  if (!std::strcmp(set, "single")) work.attend = attend_single;
  if (work.attend == nullptr) return 1;
  for (int64_t strip = 0; strip < work.strips(); ++strip) work.compute(strip);
  return 0;
}
