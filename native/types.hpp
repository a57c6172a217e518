// The data that the parts of the native module hand each other, and no code. Translation units that
// are compiled for different instruction sets include this file: the linker could take a function
// from the wrong one.
#pragma once
#include <cstdint>

#include "extension.hpp"
#include "integers.hpp"

namespace fracstride {

// Half precision as it is stored: bits, to be widened.
struct float16 {
  std::uint16_t bits;
};
struct bfloat16 {
  std::uint16_t bits;
};

// (Without `inline`, Clang defines the two specialisations in each unit, and they do not link.)
template <class S>
inline constexpr bool is_half = false;
template <>
inline constexpr bool is_half<float16> = true;
template <>
inline constexpr bool is_half<bfloat16> = true;

template <class T>
struct Alias {
  using type = T;
};
template <class S, bool half = is_half<S>>
struct SumType : Alias<S> {};
template <class S>
struct SumType<S, true> : Alias<float> {};

// The type in which numbers that are stored as S are multiplied and added up.
template <class S>
using Sum = typename SumType<S>::type;

// The gradient of the weight sums over time: in runs of equal length, of at most this many frames.
constexpr i64 grad_run_steps = 96;
constexpr i64 depthwise_run_steps = 1024;  // longer: each run ends in a sum over lanes

// The gradient of the bias too.
constexpr i64 bias_run_steps = 1024;

// The most shifts of one unit of the weight's gradient.
constexpr i64 most_shift_block = 16;
// The most panels of columns of one unit.
constexpr i64 most_column_block = 256;

// Where a term of a product reads a signal, or a row of it is stored (t*s + m*d - p_l in
// geometry.py):
//     position = t * frame + phase * phase_step + base + j * shift
// for frame t, phase (the first tap of its class) and j-th shift.
struct Positions {
  i64 frame, phase_step, base, shift;
};

// Channels times phases, phase fastest: index = channel * phases + (phase - first_phase).
struct Axis {
  i64 channels, phases, first_phase;
};

// A part of the sum: every (channel, phase) of the axis, with `shifts` taps each. A word of the
// packed operands holds one of these terms or, of bfloat16, a pair of neighbouring ones.
struct Segment {
  Axis axis;
  i64 shifts;
  i64 words;
};

// One matrix product per class of rows that have the same number of taps:
//     Z[row, t] = sum over (segment, u, j) of W[row, (u, j)] * X[u, t + j * shift_frames]
// The forward map T and its input adjoint C are both of this form.
struct Product {
  Axis rows;                       // per group
  Segment segments[2];             // the second one may be empty
  bool pairs;                      // whether a word holds a pair
  i64 steps;                       // words of one sum
  i64 shift_frames;                // signed: -dilation' for T, +dilation' for C
  i64 packed_offset;               // first element in the packed weights of one group
  i64 panel_stride;                // elements from one panel of rows to the next
  i64 step_stride;                 // elements from one word (u, j) of the sum to the next
  i64 weight_row, weight_channel;  // strides in the weight, per row and summed channel;
  i64 weight_shift;                // per j; neighbouring phases are neighbours
  bool transposed;                 // rows are the weight's own: C
  bool falling;                    // j counts the taps from the last one down
};

// A three-dimensional array (batch, channel, position); strides in elements, of any sign.
template <class T>
struct Signal {
  T* data;
  i64 batch_stride, channel_stride, position_stride, length;
};

// The first `length` positions of a signal, which a stream keeps in an array of their own. The
// other positions are the Signal's, numbered from `length` on: Signal::data is the address that
// position 0 would have in its array.
template <class T>
struct Carried {
  const T* data;  // null where nothing is carried
  i64 batch_stride, channel_stride, position_stride, length;
};

// Operations fused into the map T, and into a Conv1d: leaky ReLU of the input, where it is packed,
// and addition of a residual, a signal of the output's shape, where the output is stored.
template <class S>
struct Around {
  Signal<const S> residual{};     // data is null where there is none
  Carried<S> residual_carried{};  // of the residual, where frames are samples
  Sum<S> negative_slope = 1;      // 1: none
};

// A frame outside the signal, as a number that counts these frames (an edge), and the frame of the
// signal that it copies.
struct Copy {
  i64 frame, edge;
};

// Frames outside the signal in the map C. One call writes their sums, as they are, and a second one
// adds them to the sums of the frames that they copy, before these are rounded and stored.
template <class T>
struct Edges {
  T* sums;             // (batch, channel, edge) from a call's first edge on; null: there are none
  i64 count;           // edges of one channel
  const Copy* copies;  // `count`, by rising frame and edge; null in the call that writes the sums
};

// A product of the maps T and C with its operands, and how it is cut into blocks of frames.
template <class S>
struct Call {
  Product product;
  const Sum<S>* packed;  // weights of group 0, or null: each unit packs the panel that it needs
  i64 packed_group;      // elements from one group to the next
  const S* weight;       // group 0 as it lies, where nothing is packed
  i64 weight_group;
  const S* bias;  // or null
  Signal<const S> source;
  Carried<S> carried;
  Signal<S> target;
  Around<S> around;
  Edges<Sum<S>> edges;
  Positions source_at, target_at;
  i64 batch, groups;
  i64 source_channels, target_channels;  // per group
  i64 first_frame, frames;               // t runs over [first_frame, first_frame + frames)
  i64 block_frames, blocks;
  i64 entries, pitch;    // batch entries of a block, and frames from one of them to the next
  i64 window;            // elements of one packed row
  bool separate_shifts;  // one packed row per (u, j) instead of one per u
  bool in_place;     // blocks whose terms all exist are not packed: there are few rows to read them
  bool filter;       // a single row of sums, computed by filters.hpp
  bool skip_absent;  // a weight may be infinite or NaN: it must not meet the 0 of an absent frame
  Extension extension;
};

// The map R for one class of taps: columns are the product's rows (output channel, phase).
template <class S>
struct WeightGradCall {
  Product product;
  Signal<const S> input, grad_output;
  S* grad_weight;  // (C_in, C_out/g, k), contiguous
  Positions output_at;
  i64 batch, groups, in_channels, out_channels, kernel;  // channels per group
  i64 first_frame, frames, run_frames;
  i64 row_block, column_block, shift_block;  // rows, column panels and shifts of one unit
  i64 row_blocks, column_blocks, shift_blocks;
  i64 window;            // packed frames of a run, with what its shifts reach
  bool separate_shifts;  // each shift of a run has frames of its own
  bool pairs;            // whether a word holds two frames
  bool depthwise;        // one channel in, one out
  bool column_is_tap;    // every tap is a phase of its own: columns are in the weight's order
  bool one_run;          // the call's only run: samples of all panels of a unit are packed at once
  Extension extension;
};

// The map T with one channel in and one out per group, for the strides that are interleaved in
// registers. Frames [first_frame, last_frame) reach the output; of those in [first_whole,
// last_whole) every term and every sample exists.
template <class S>
struct DepthwiseCall {
  Signal<const S> source;
  Carried<S> carried;
  Signal<S> target;
  const Sum<S>* weight;  // (channels, kernel)
  const S* bias;         // or null
  i64 channels, kernel, phases, padding_left;
  i64 most, most_phases;  // as in Taps, plan.hpp
  i64 fewer;              // taps of the other phases
  i64 shift_frames;
  i64 first_frame, last_frame, first_whole, last_whole;
  i64 piece_frames, pieces;  // of one row, for the threads to share
  Extension extension;
};

// A product of an LSTM: a Conv1d of kernel 1, without groups.
template <class S>
struct LstmProduct {
  Product product;
  const Sum<S>* packed;
  const S* bias;      // or null
  i64 rows;           // whole panels
  i64 frames;         // of all batch entries
  const void* words;  // (words of a sum, frames)
  S* target;          // (frames, rows)
};

template <class S>
struct PointwiseProgram;  // pointwise_types.hpp

// T of a depthwise layer, a pointwise program and a depthwise Conv1d in one pass. The signal
// between them is nowhere: `up` has no target and `down` no source but for their lengths.
template <class S>
struct AntialiasedCall {
  DepthwiseCall<S> up;
  const PointwiseProgram<S>* program;
  void (*apply)(const PointwiseProgram<S>&, i64 channel, Sum<S>* values, i64 count);
  Call<S> down;
};

// The functions of one instruction set for numbers that are stored as S. Units of work are
// numbered, and any split of the numbers over threads gives the same bits.
template <class S>
struct Kernels {
  i64 lanes;              // of one vector
  i64 panel_rows;         // rows of a weight panel
  i64 tile_frames;        // frames of a full tile
  i64 run_steps;          // words of a run of a sum
  bool multiplies_pairs;  // of neighbouring terms, in one word
  bool (*all_finite)(const S* values, i64 count);
  void (*widen)(const S* from, Sum<S>* to, i64 count);
  i64 (*pack_scratch)(const Product&);
  bool (*packs_runs)(const Product&);  // whether a unit can pack its panel run by run
  bool (*pack_panels)(const Product&, const S* weight, Sum<S>* packed, i64 first, i64 last,
                      Sum<S>* scratch);  // returns whether these weights are finite
  i64 (*scratch)(const Call<S>&);
  void (*run)(const Call<S>&, i64 first_unit, i64 last_unit, Sum<S>* scratch);
  void (*depthwise)(const DepthwiseCall<S>&, i64 first_unit, i64 last_unit);
  i64 (*antialiased_scratch)(const AntialiasedCall<S>&);
  void (*antialiased)(const AntialiasedCall<S>&, i64 first_unit, i64 last_unit, Sum<S>* scratch);
  void (*fill)(const Signal<S>& target, const S* bias, const Signal<const S>& residual,
               i64 channels, i64 first_row, i64 last_row);
  void (*lstm_product)(const LstmProduct<S>&, i64 first_panel, i64 last_panel);
  void (*lstm_words)(const Product&, Signal<const S>, i64 batch, i64 first_channel,
                     i64 last_channel, void* words);
};

// The same for the map R and for the sum of the bias.
template <class S>
struct GradKernels {
  i64 lanes;
  i64 columns;            // of a panel
  i64 rows;               // of a tile
  bool multiplies_pairs;  // of neighbouring frames
  i64 (*scratch)(const WeightGradCall<S>&);
  void (*run)(const WeightGradCall<S>&, i64 first_unit, i64 last_unit, Sum<S>* scratch);
  void (*bias)(const Signal<const S>&, i64 batch, S* sums, i64 first, i64 last);
};

struct PointwiseSet;  // pointwise_types.hpp

// Of an instruction set: all but its products of bfloat16. Two sets that differ in these alone
// share it.
struct CommonKernels {
  Kernels<float> f32;
  Kernels<double> f64;
  Kernels<float16> f16;
  GradKernels<float> grad_f32;
  GradKernels<double> grad_f64;
  GradKernels<float16> grad_f16;
  i64 (*multiply_adds)(i64 rounds, float& value);
  const PointwiseSet* pointwise;
};

struct InstructionSet {
  const char* name;
  const CommonKernels* common;
  Kernels<bfloat16> bf16;
  GradKernels<bfloat16> grad_bf16;
};

}  // namespace fracstride
