// A weight in the order in which the kernels read it.
#pragma once
#include "dispatch.hpp"
#include "plan.hpp"
#include "types.hpp"
#include "weight_memory.hpp"

namespace fracstride {

// The map that a weight is packed for: T, the transposed convolution; C, its adjoint in the input;
// or a Conv1d, which is C as a map of its own. Python has these numbers too (kernel_table.py).
enum class Direction { forward, input_grad, conv1d };

// kept: packed now, for many calls. once: for a single call, which may read the unpacked weight
// instead; the caller keeps the weight alive until that call.
enum class Packing { kept, once };

// A weight (C_in, C_out/g, k) for one direction and one instruction set, for signals that are
// stored as S. Immutable.
template <class S>
class PackedWeight {
 public:
  PackedWeight(const S* weight, const Layer& layer, Direction direction, Packing packing,
               const InstructionSet& isa = instruction_set());

  const Layer layer;
  const Direction direction;
  const InstructionSet& isa;
  const Plan plan;
  const S* const weight;  // the caller's own, where nothing is packed
  bool packed() const { return packed_.data() != nullptr; }
  const Sum<S>* data() const { return packed_.data(); }
  bool finite() const { return finite_; }  // of a packed weight: whether all its values are
  i64 group_size() const;                  // elements of one group of the caller's weight

 private:
  void pack(const S* weight);
  WeightMemory<Sum<S>> packed_;
  bool finite_ = false;
};

}  // namespace fracstride
