#include "dispatch.hpp"

#include <atomic>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace fracstride {

#if defined(__x86_64__)
extern const InstructionSet kernels_baseline, kernels_avx2, kernels_avx512, kernels_avx512bf16;
#elif defined(__aarch64__)
extern const InstructionSet kernels_neon;
#else
extern const InstructionSet kernels_baseline;
#endif

std::vector<const InstructionSet*> built_instruction_sets() {
#if defined(__x86_64__)
  return {&kernels_baseline, &kernels_avx2, &kernels_avx512, &kernels_avx512bf16};
#elif defined(__aarch64__)
  return {&kernels_neon};
#else
  return {&kernels_baseline};
#endif
}

#if defined(__x86_64__)
namespace {
// Not every compiler's __builtin_cpu_supports knows it.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
}  // namespace
#endif

std::vector<const InstructionSet*> available_instruction_sets() {
#if defined(__x86_64__)
  std::vector<const InstructionSet*> sets{&kernels_baseline};
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !has_f16c()) return sets;
  sets.push_back(&kernels_avx2);
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512vl") ||
      !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq"))
    return sets;
  sets.push_back(&kernels_avx512);
  if (__builtin_cpu_supports("avx512bf16")) sets.push_back(&kernels_avx512bf16);
  return sets;
#else
  return built_instruction_sets();
#endif
}

namespace {
std::atomic<const InstructionSet*> used{nullptr};
}

const InstructionSet& instruction_set() {
  const InstructionSet* set = used.load(std::memory_order_relaxed);
  if (!set) used.store(set = available_instruction_sets().back());
  return *set;
}

void use_instruction_set(const InstructionSet& set) { used.store(&set); }

}  // namespace fracstride
