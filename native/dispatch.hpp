// Which instruction sets were built in, which of them this machine has, which one is used.
#pragma once
#include <vector>

#include "types.hpp"

namespace fracstride {

std::vector<const InstructionSet*> built_instruction_sets();      // lowest first
std::vector<const InstructionSet*> available_instruction_sets();  // lowest first
const InstructionSet& instruction_set();                          // the one that is used
void use_instruction_set(const InstructionSet& set);

template <class T>
const Kernels<T>& kernels_of(const InstructionSet& set) {
  if constexpr (sizeof(T) == sizeof(float))
    return *set.f32;
  else
    return *set.f64;
}

}  // namespace fracstride
