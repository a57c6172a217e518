// Pointwise programs: a chain of elementwise operations that passes over memory once. Python says
// what to compute by numbers (Instruction); they are checked here, once, and kept in the form that
// the kernels read.
#pragma once
#include <string>
#include <type_traits>
#include <vector>

#include "pointwise_types.hpp"

namespace fracstride {

template <class S>
const PointwiseKernels<S>& pointwise_kernels_of(const InstructionSet& set) {
  if constexpr (std::is_same_v<S, float>)
    return set.common->pointwise->f32;
  else if constexpr (std::is_same_v<S, double>)
    return set.common->pointwise->f64;
  else if constexpr (std::is_same_v<S, float16>)
    return set.common->pointwise->f16;
  else
    return set.common->pointwise->bf16;
}

// An operand from 0 on is a register. -1 is `first`, rounded to the program's dtype, and -2 - j the
// program's channel value j.
struct Instruction {
  int operation, target, a, b;
  double first, second;
};

// An array of one number per channel, of the type in which the program computes.
struct ChannelValues {
  const void* data;
  i64 count;
};

// A program for numbers stored as S. Registers 0 to inputs - 1 hold the inputs at the start; the
// result is the target of the last instruction. std::invalid_argument, with a sentence, for numbers
// that name nothing.
template <class S>
class Program {
 public:
  Program(int inputs, const std::vector<Instruction>& instructions,
          const std::vector<ChannelValues>& channel_values);
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  int inputs() const { return program_.inputs; }
  i64 channels() const { return channels_; }  // that the values per channel suffice for, or -1
  double cost() const { return cost_; }       // of one number, in multiply-adds
  const PointwiseProgram<S>& program() const { return program_; }

 private:
  std::vector<PointwiseStep<S>> steps_;
  std::vector<std::vector<Sum<S>>> per_channel_;
  std::vector<const Sum<S>*> per_channel_data_;
  std::vector<Sum<S>> scalars_;
  i64 channels_ = -1;
  double cost_ = 0;
  PointwiseProgram<S> program_{};
};

// The program applied to inputs (batch, channels, length). A stride of 0 repeats a number. `out`
// may be one of the inputs.
template <class S>
struct PointwiseArray {
  S* data;
  i64 batch_stride, channel_stride, position_stride;
};
template <class S>
void pointwise(const Program<S>& program, i64 batch, i64 channels, i64 length,
               const PointwiseArray<S>& out, const PointwiseArray<const S>* inputs);

// The same prepared for one thread and one instruction set: for callers that run it many times. Its
// arrays may be replaced by others with the same strides.
template <class S>
PointwiseCall<S> pointwise_call(const Program<S>& program, const InstructionSet& isa, i64 batch,
                                i64 channels, i64 length, const PointwiseArray<S>& out,
                                const PointwiseArray<const S>* inputs);
template <class S>
void run_pointwise_call(const PointwiseCall<S>& call, const InstructionSet& isa);

std::vector<std::string> pointwise_operations();  // their names, by number

}  // namespace fracstride
