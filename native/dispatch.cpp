#include "dispatch.hpp"

#include <atomic>

#include "cpu_features.hpp"

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

std::vector<const InstructionSet*> available_instruction_sets() {
  std::vector<const InstructionSet*> sets;
#define FS_INSTRUCTION_SET(name, cpu_has_it) \
  if (cpu_has_it) sets.push_back(&kernels_##name);
#include "instruction_sets.inc"
#undef FS_INSTRUCTION_SET
  return sets;
}

// The last one. But an Intel CPU multiplies pairs of bfloat16 in more time than it saves: a Granite
// Rapids takes 1.4 times as long as without them.
const InstructionSet& best_instruction_set() {
  std::vector<const InstructionSet*> sets = available_instruction_sets();
#if defined(__x86_64__)
  if (sets.size() > 1 && sets.back()->bf16.multiplies_pairs && is_intel()) sets.pop_back();
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
