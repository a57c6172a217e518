// The maps on pointers: T, the transposed convolution; C, its adjoint in the input; R, its adjoint
// in the weight; and the sum that a bias's gradient is. Everything that arrives here has been
// checked in Python.
#pragma once
#include <vector>

#include "packed_weight.hpp"
#include "types.hpp"

namespace fracstride {

// y = T(x, w) + bias, with x extended past both ends. `input.length` includes the carried frames.
//
// Of a weight packed for a Conv1d, y = C(x, w) + bias: output t reads position
// t*stride + m*dilation - padding_left of x with tap m. A negative padding_left leaves positions
// out.
template <class S>
void forward(const PackedWeight<S>& weight, i64 batch, const Signal<const S>& input, const S* bias,
             const Signal<S>& output, i64 padding_left, Extension extension,
             const Around<S>& around = {}, const Carried<S>& carried = {});

// The frames outside a signal that have a tap on some sample, in rising disjoint intervals, and the
// padding mode that says which frames they copy. With zeros there are none.
struct Outside {
  Extension extension = zeros;
  std::vector<Range> intervals{};
};

// The adjoint of T in its input: C(gy, w), where each frame outside the input is added to the frame
// that it copies, in rising order, before anything is rounded.
template <class S>
void input_grad(const PackedWeight<S>& weight, i64 batch, const Signal<const S>& grad_output,
                const Signal<S>& grad_input, i64 padding_left, const Outside& outside);

// R(x, gy), the sum over batch and time.
template <class S>
void weight_grad(const Layer& layer, i64 batch, const Signal<const S>& input,
                 const Signal<const S>& grad_output, S* grad_weight, i64 padding_left,
                 Extension extension);

// The sum of each channel over batch and time.
template <class S>
void bias_grad(i64 batch, i64 channels, const Signal<const S>& grad_output, S* grad_bias);

// A Conv1d of a signal without carried frames, as a call that is not cut into blocks yet.
template <class S>
Call<S> conv1d_call(const PackedWeight<S>& weight, i64 batch, const Signal<const S>& input,
                    const S* bias, const Signal<S>& output, i64 padding_left, Extension extension);

// T of a depthwise layer, as a call that is not cut into pieces yet.
template <class S>
DepthwiseCall<S> depthwise_call(const PackedWeight<S>& weight, const Signal<const S>& input,
                                const S* bias, const Signal<S>& output, i64 padding_left,
                                Extension extension, const Carried<S>& carried);

}  // namespace fracstride
