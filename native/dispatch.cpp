#include "dispatch.hpp"

#include <atomic>

namespace fracstride {

#if defined(__x86_64__)
extern const InstructionSet kernels_baseline, kernels_avx2, kernels_avx512;
#elif defined(__aarch64__)
extern const InstructionSet kernels_neon;
#else
extern const InstructionSet kernels_baseline;
#endif

std::vector<const InstructionSet*> built_instruction_sets() {
#if defined(__x86_64__)
  return {&kernels_baseline, &kernels_avx2, &kernels_avx512};
#elif defined(__aarch64__)
  return {&kernels_neon};
#else
  return {&kernels_baseline};
#endif
}

std::vector<const InstructionSet*> available_instruction_sets() {
#if defined(__x86_64__)
  std::vector<const InstructionSet*> sets{&kernels_baseline};
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return sets;
  sets.push_back(&kernels_avx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
    sets.push_back(&kernels_avx512);
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
