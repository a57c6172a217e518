// The gradients that sum over time: R, the weight's, and the bias's.
#include <algorithm>
#include <vector>

#include "blocks.hpp"
#include "interrupts.hpp"
#include "maps.hpp"
#include "plan.hpp"
#include "scratch.hpp"
#include "threads.hpp"

namespace fracstride {
namespace {

constexpr i64 most_taps = 32;  // that are phases of their own: samples are packed for each of them

// R for the taps of one product of T. choose_blocks adds its blocks.
template <class S>
WeightGradCall<S> weight_grad_call(const Layer& layer, const Product& p, bool depthwise, i64 batch,
                                   const Signal<const S>& input, const Signal<const S>& grad_output,
                                   S* grad_weight, i64 padding_left, Extension extension) {
  const GradKernels<S>& kernels = grad_kernels_of<S>(instruction_set());
  const Range frames = frames_onto(p, layer, padding_left, grad_output.length);
  WeightGradCall<S> c{};
  c.product = p;
  c.input = input;
  c.grad_output = grad_output;
  c.grad_weight = grad_weight;
  c.output_at = {layer.stride, layer.dilation, -padding_left, 0};
  c.batch = batch;
  c.groups = layer.groups;
  c.in_channels = layer.in_channels;
  c.out_channels = layer.out_channels;
  c.kernel = layer.kernel;
  c.first_frame = frames.first;
  c.frames = frames.last - frames.first;
  c.depthwise = depthwise;
  c.pairs = kernels.multiplies_pairs && !depthwise;
  const i64 frames_per_word = c.pairs ? 2 : 1;
  const i64 most = depthwise ? depthwise_run_steps : grad_run_steps * frames_per_word;
  const i64 runs = std::max<i64>(1, divide_up(c.frames, most));
  // Where there are several runs, all but the last one have whole vectors.
  const i64 grain = depthwise && c.frames > most ? kernels.lanes : frames_per_word;
  c.run_frames = round_up(std::max<i64>(1, divide_up(c.frames, runs)), grain);
  c.column_is_tap = p.rows.phases == layer.kernel;
  c.extension = extension;
  return c;
}

template <class S>
Format format_of(const GradKernels<S>& kernels) {
  return {kernels.columns, kernels.lanes, false};
}

// The classes of taps that T has, or one in which each tap is a phase of its own. Where columns
// then fill fewer vectors: few output channels leave most lanes of a vector empty, for every shift.
// And for a single run of frames, whose sums are then made where the gradient is.
template <class S>
Plan plan_weight_grad(const Layer& layer, i64 batch, i64 frames, const GradKernels<S>& kernels) {
  const Format format = format_of(kernels);
  const auto vectors = [&](const Plan& plan) {
    i64 count = 0;
    for (const Product& p : plan.products)
      count += p.segments[0].shifts * divide_up(row_count(p), kernels.lanes);
    return count;
  };
  Plan by_class = plan_forward(layer, format);
  // From the frame whose last tap lands on a sample to the one whose first tap does.
  const i64 spread = (layer.kernel - 1) * layer.dilation / layer.stride;
  if (by_class.filters || layer.kernel > most_taps || spread >= grad_run_steps) return by_class;
  Plan by_tap = plan_forward(for_one_frame(layer), format);
  if (batch == 1 && frames + spread < grad_run_steps) return by_tap;
  return 5 * vectors(by_tap) <= 4 * vectors(by_class) && 4 * spread <= frames ? by_tap : by_class;
}

}  // namespace

template <class S>
void weight_grad(const Layer& layer, i64 batch, const Signal<const S>& input,
                 const Signal<const S>& grad_output, S* grad_weight, i64 padding_left,
                 Extension extension) {
  const GradKernels<S>& kernels = grad_kernels_of<S>(instruction_set());
  const i64 weights = layer.groups * layer.in_channels * layer.out_channels * layer.kernel;
  const double products = real_product(batch, input.length, weights);
  const int wanted = threads_for(products);
  // A frame that is alone meets no other frame's taps, however far apart samples are.
  const bool one_frame = input.length == 1 && extension == zeros;
  const Layer placed = one_frame ? for_one_frame(layer) : layer;
  const Plan plan = one_frame ? plan_forward(placed, format_of(kernels))
                              : plan_weight_grad(layer, batch, input.length, kernels);
  std::vector<WeightGradCall<S>> calls;
  i64 scratch = 0, most_units = 0;
  for (const Product& p : plan.products) {
    calls.push_back(weight_grad_call(placed, p, plan.filters, batch, input, grad_output,
                                     grad_weight, padding_left, extension));
    WeightGradCall<S>& c = calls.back();
    choose_blocks(c, kernels, wanted);
    most_units = std::max(most_units, unit_count(c));
    scratch = std::max(scratch, whole_lines<Sum<S>>(kernels.scratch(c)));
  }
  const int threads = static_cast<int>(std::min<i64>(wanted, most_units));
  const Scratch<Sum<S>> memory(scratch * threads);
  std::atomic<bool> stop{false};
  parallel(threads, [&](int index, int count) {
    for (const WeightGradCall<S>& c : calls) {
      const i64 units = unit_count(c);
      Slices(products / real_product(units), 1)
          .run(share(units, index, count), share(units, index + 1, count), index == 0, stop,
               [&](i64 first, i64 last) {
                 kernels.run(c, first, last, memory.data() + index * scratch);
               });
    }
  });
  if (stop) throw Interrupted();
}

template <class S>
void bias_grad(i64 batch, i64 channels, const Signal<const S>& grad_output, S* grad_bias) {
  const GradKernels<S>& kernels = grad_kernels_of<S>(instruction_set());
  const double samples = real_product(batch, channels, grad_output.length);
  const int threads = static_cast<int>(std::min<i64>(threads_for(samples), channels));
  parallel(threads, [&](int index, int count) {
    kernels.bias(grad_output, batch, grad_bias, share(channels, index, count),
                 share(channels, index + 1, count));
  });
}

#define FS_GRADIENTS(S)                                                                           \
  template void weight_grad<S>(const Layer&, i64, const Signal<const S>&, const Signal<const S>&, \
                               S*, i64, Extension);                                               \
  template void bias_grad<S>(i64, i64, const Signal<const S>&, S*);
FS_GRADIENTS(float)
FS_GRADIENTS(double)
FS_GRADIENTS(float16)
FS_GRADIENTS(bfloat16)

}  // namespace fracstride
