// Which instruction sets were built in, which of them this machine has, which one is used.
#pragma once
#include <type_traits>
#include <vector>

#include "types.hpp"

namespace fracstride {

std::vector<const InstructionSet*> built_instruction_sets();      // lowest first
std::vector<const InstructionSet*> available_instruction_sets();  // lowest first
const InstructionSet& best_instruction_set();                     // of those that this machine has
const InstructionSet& instruction_set();  // the one that is used, at first the best
void use_instruction_set(const InstructionSet& set);

template <class S>
const Kernels<S>& kernels_of(const InstructionSet& set) {
  if constexpr (std::is_same_v<S, float>)
    return set.common->f32;
  else if constexpr (std::is_same_v<S, double>)
    return set.common->f64;
  else if constexpr (std::is_same_v<S, float16>)
    return set.common->f16;
  else
    return set.bf16;
}

template <class S>
const GradKernels<S>& grad_kernels_of(const InstructionSet& set) {
  if constexpr (std::is_same_v<S, float>)
    return set.common->grad_f32;
  else if constexpr (std::is_same_v<S, double>)
    return set.common->grad_f64;
  else if constexpr (std::is_same_v<S, float16>)
    return set.common->grad_f16;
  else
    return set.grad_bf16;
}

}  // namespace fracstride
