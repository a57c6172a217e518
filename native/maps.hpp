// The three maps T, C and R on pointers: which blocks, how many threads, what scratch. Everything
// that arrives here has been checked in Python.
#pragma once
#include <memory>
#include <new>
#include <vector>

#include "dispatch.hpp"
#include "plan.hpp"
#include "types.hpp"

namespace fracstride {

template <class T>
class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(i64 elements);  // std::bad_alloc where there is no memory; 64-byte aligned
  T* data() const { return data_.get(); }

 private:
  struct Free {
    std::align_val_t alignment{};
    void operator()(T* p) const;
  };
  std::unique_ptr<T[], Free> data_{nullptr, Free{}};
};

enum class Direction { forward, input_grad };

// For how long a weight is packed: for many calls, or for the one that it is made for. That one
// may find that packing it whole does not pay; the weight itself has to stay where it is until
// then.
enum class Packing { kept, once };

// A weight (C_in, C_out/g, k), packed for one direction and one instruction set, for signals that
// are stored as S. Immutable.
template <class S>
class PackedWeight {
 public:
  PackedWeight(const S* weight, const Layer& layer, Direction direction, Packing packing,
               const InstructionSet& isa = instruction_set());

  const Layer layer;
  const Direction direction;
  const InstructionSet& isa;
  const Plan plan;
  const S* const weight;  // as it lies, of a weight that is not packed
  bool packed() const { return packed_.data() != nullptr; }
  const Sum<S>* data() const { return packed_.data(); }
  bool finite() const { return finite_; }  // of a packed weight: whether all its values are
  i64 group_size() const;                  // elements of one group of the weight as it lies

 private:
  void pack(const S* weight);
  Scratch<Sum<S>> packed_;
  bool finite_ = false;
};

// y = T(x, w) + bias, x extended past its ends. The input's length counts what is carried of it.
template <class S>
void forward(const PackedWeight<S>& weight, i64 batch, const Signal<const S>& input, const S* bias,
             const Signal<S>& output, i64 padding_left, Extension extension,
             const Around<S>& around = {}, const Carried<S>& carried = {});

// Frames [start, stop).
struct Interval {
  i64 start, stop;
};

// The frames outside a signal that some sample is the sum of, in rising disjoint intervals, and the
// padding mode that says which frames they copy. With zeros there are none.
struct Outside {
  Extension extension = zeros;
  std::vector<Interval> intervals{};
};

// The adjoint of T in its input: C(gy, w), where each frame outside the input is added to the frame
// that it copies, in rising order, before anything is rounded. `source_extension` extends gy past
// its ends (a Conv1d that pads its input).
template <class S>
void input_grad(const PackedWeight<S>& weight, i64 batch, const Signal<const S>& grad_output,
                const Signal<S>& grad_input, i64 padding_left, const Outside& outside,
                Extension source_extension = zeros);

// Frames [first_frame, first_frame + grad_input.length) of C(gy, w); extended ones are not folded.
template <class S>
void input_grad(const PackedWeight<S>& weight, i64 batch, const Signal<const S>& grad_output,
                const Signal<S>& grad_input, i64 padding_left, i64 first_frame);

// R(x, gy), the sum over batch and time.
template <class S>
void weight_grad(const Layer& layer, i64 batch, const Signal<const S>& input,
                 const Signal<const S>& grad_output, S* grad_weight, i64 padding_left,
                 Extension extension);

// For benchmarks: multiply-adds on registers by all threads, `rounds` times each; their number.
i64 multiply_adds(i64 rounds);
// For benchmarks: floats read once by one thread; whether all are finite.
bool read_floats(const float* values, i64 count);
// For benchmarks: a copy by all threads, so many times.
void copy_bytes(const void* from, void* to, i64 bytes, i64 times);

// The sum over batch and time of each channel.
template <class S>
void bias_grad(i64 batch, i64 channels, const Signal<const S>& grad_output, S* grad_bias);

}  // namespace fracstride
