// From a layer's integers to matrix products: phases, shifts, classes of rows, panels.
#pragma once
#include <vector>

#include "types.hpp"

namespace fracstride {

// Channels per group. Stride, dilation and kernel as in geometry.py, which has checked them.
struct Layer {
  i64 groups, in_channels, out_channels, kernel, stride, dilation;
};

// With g = gcd(stride, dilation), stride' = stride/g and dilation' = dilation/g, the taps m0,
// m0 + stride', m0 + 2*stride', ... of every m0 < stride' (a phase) land on the same samples,
// dilation' frames apart from each other (a shift). Twin of taps_reaching in reach.py.
struct Taps {
  i64 step;          // stride': from one tap of a phase to the next
  i64 frames;        // dilation': frames per shift
  i64 phases;        // phases that have a tap
  i64 most;          // taps of phase 0, the most that any phase has
  i64 most_phases;   // phases with that many; the others have one less
  bool all_samples;  // whether every sample is reached by some phase
};

Taps taps_of(const Layer& layer);

// The same layer with a stride beyond its last tap, so that each tap is a phase of its own. A
// single frame without extension has the same samples in both: no two of its taps meet.
Layer for_one_frame(const Layer& layer);

struct Plan {
  std::vector<Product> products;
  i64 packed_group;  // elements of one group's packed weights
  bool filters;      // one channel in, one out: filters in the order of the sum, not panels
};

// What a plan depends on besides the layer: the kernels' sizes.
struct Format {
  i64 panel_rows, lanes;
  bool pairs;  // whether they multiply pairs
};

// T: rows (output channel, phase), summed over (input channel, shift).
Plan plan_forward(const Layer& layer, const Format& format);
// C: rows (input channel), summed over (output channel, phase, shift).
Plan plan_input_grad(const Layer& layer, const Format& format);
// The same as a Conv1d. With stride 1, its taps fall: they are added in the order of the transposed
// convolution that it then is.
Plan plan_conv1d(const Layer& layer, const Format& format);

// The frames of a product of T: from the first to the last one of which the first tap of some phase
// of the product lands on a sample in [0, output_length). (Some frames between them may land on
// none, and where the output is shorter than the stride, the first and the last too.) Twin of
// frames_reaching in reach.py.
Range frames_onto(const Product& product, const Layer& layer, i64 padding_left, i64 output_length);

i64 row_count(const Product& product);

}  // namespace fracstride
