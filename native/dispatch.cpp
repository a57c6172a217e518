#include "dispatch.hpp"

#include <atomic>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__aarch64__) && defined(_WIN32)
#include <windows.h>
#endif

namespace fracstride {

// instruction_sets.inc has a line FS_INSTRUCTION_SET(name, whether the CPU has it) for each set
// that was built, lowest first: CMakeLists.txt writes it from instruction_sets.txt.
#define FS_INSTRUCTION_SET(name, cpu_has_it) extern const InstructionSet kernels_##name;
#include "instruction_sets.inc"
#undef FS_INSTRUCTION_SET

std::vector<const InstructionSet*> built_instruction_sets() {
  return {
#define FS_INSTRUCTION_SET(name, cpu_has_it) &kernels_##name,
#include "instruction_sets.inc"
#undef FS_INSTRUCTION_SET
  };
}

// The features of instruction_sets.txt that no builtin of the compilers tests.
namespace {
#if defined(__x86_64__)
[[maybe_unused]] bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#elif defined(__aarch64__)
#if defined(__APPLE__)
bool has_feature(const char* name) {
  int value = 0;
  std::size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}
#endif

// Numbers of the systems' interfaces, whose names older headers do not have.
[[maybe_unused]] bool has_bf16() {
#if defined(__linux__)
  return getauxval(AT_HWCAP2) & 1ul << 14;  // HWCAP2_BF16
#elif defined(__APPLE__)
  return has_feature("hw.optional.arm.FEAT_BF16");
#elif defined(_WIN32)
  return IsProcessorFeaturePresent(68);  // PF_ARM_V86_BF16_INSTRUCTIONS_AVAILABLE
#else
  return false;
#endif
}
#endif
}  // namespace

std::vector<const InstructionSet*> available_instruction_sets() {
#if defined(__x86_64__)
  __builtin_cpu_init();
#endif
  std::vector<const InstructionSet*> sets;
#define FS_INSTRUCTION_SET(name, cpu_has_it) \
  if (cpu_has_it) sets.push_back(&kernels_##name);
#include "instruction_sets.inc"
#undef FS_INSTRUCTION_SET
  return sets;
}

// The last one. But an Intel CPU multiplies pairs of bfloat16 in more time than it saves: a Granite
// Rapids takes 1.4 times as long as without them. (No Arm CPU has been measured. What is known of
// all sets there is that their results are right.)
const InstructionSet& best_instruction_set() {
  std::vector<const InstructionSet*> sets = available_instruction_sets();
#if defined(__x86_64__)
  if (sets.size() > 1 && sets.back()->bf16.multiplies_pairs && __builtin_cpu_is("intel"))
    sets.pop_back();
#endif
  return *sets.back();
}

namespace {
std::atomic<const InstructionSet*> used{nullptr};
}

const InstructionSet& instruction_set() {
  const InstructionSet* set = used.load(std::memory_order_relaxed);
  if (!set) used.store(set = &best_instruction_set());
  return *set;
}

void use_instruction_set(const InstructionSet& set) { used.store(&set); }

}  // namespace fracstride
