// A function of a signal at a higher rate, in one pass over memory: T of a depthwise layer, a
// pointwise program and a depthwise Conv1d. Vocoders do this at each activation, so that what its
// bend adds above half the sampling rate does not fold back.
#pragma once
#include "maps.hpp"
#include "pointwise.hpp"

namespace fracstride {

// An input and an output of a layer of it.
template <class S>
struct Filtering {
  const PackedWeight<S>& weight;
  const S* bias;  // or null
  i64 padding_left;
  Extension extension;
};

// output = C(program(T(input))), where `middle` is the length of the signal between. Returns false,
// having done nothing, where a step has to be done alone: unless both layers are depthwise, have
// strides of at most 8, no dilation, weights packed for the instruction set in use that are finite
// where the padding is zeros, and the first one a tap for each sample and at most a run of them.
template <class S>
bool antialiased(const Filtering<S>& up, const Program<S>& program, const Filtering<S>& down,
                 i64 batch, const Signal<const S>& input, i64 middle, const Signal<S>& output);

}  // namespace fracstride
