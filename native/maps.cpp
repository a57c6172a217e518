#include "maps.hpp"

#include <algorithm>
#include <cstddef>
#include <new>
#include <optional>

#include "blocks.hpp"
#include "interrupts.hpp"
#include "scratch.hpp"
#include "threads.hpp"

namespace fracstride {
namespace {

// A panel used at most so often is packed by each unit that reads it: as a whole, or run by run,
// which leaves it in the first-level cache.
constexpr i64 few_uses = 1;
constexpr i64 few_uses_of_runs = 3;
constexpr i64 fewest_rows = 4;  // fewer rows cost as much as this many

// Multiply-adds of a call.
template <class S>
double products_of(const Call<S>& call) {
  return real_product(call.batch, call.groups, call.frames, call.product.steps,
                      std::max(row_count(call.product), fewest_rows));
}

template <class S>
double products_of(const std::vector<Call<S>>& calls) {
  double products = 0;
  for (const Call<S>& c : calls) products += products_of(c);
  return products;
}

// Computes all units of these calls on all threads. `prepare` runs just before: nothing can fail
// any more then, so it may write to the output.
template <class S, class Prepare>
void run(const PackedWeight<S>& weight, std::vector<Call<S>>& calls, const Prepare& prepare) {
  const Kernels<S>& kernels = kernels_of<S>(weight.isa);
  int threads = threads_for(products_of(calls));
  i64 most_uses = 0, most_units = 0, few = few_uses_of_runs;
  for (Call<S>& c : calls) {
    choose_blocks(c, kernels, threads);
    const i64 uses = entry_blocks(c) * c.blocks;
    most_uses = std::max(most_uses, uses);
    if (!kernels.packs_runs(c.product)) few = few_uses;
    most_units = std::max(most_units, uses * c.groups * panel_count(c, kernels));
  }
  std::optional<PackedWeight<S>> whole;
  if (!weight.packed() && most_uses > few)
    whole.emplace(weight.weight, weight.layer, weight.direction, Packing::kept, weight.isa);
  const PackedWeight<S>& used = whole ? *whole : weight;
  i64 scratch = 0;
  for (Call<S>& c : calls) {
    c.packed = used.data();
    c.packed_group = used.plan.packed_group;
    c.weight = used.weight;
    c.weight_group = used.group_size();
    c.skip_absent = c.extension == zeros && !(used.packed() && used.finite());
    scratch = std::max(scratch, whole_lines<Sum<S>>(kernels.scratch(c)));
  }
  threads = static_cast<int>(std::min<i64>(threads, std::max<i64>(most_units, 1)));
  const Scratch<Sum<S>> memory(scratch * threads);
  prepare();
  std::atomic<bool> stop{false};
  parallel(threads, [&](int index, int count) {
    for (const Call<S>& c : calls) {
      const i64 panels = panel_count(c, kernels);
      const auto units = real_product(entry_blocks(c), c.blocks, c.groups, panels);
      const Slices slices(products_of(c) / units, panels);
      slices.run(first_unit(c, panels, index, count), first_unit(c, panels, index + 1, count),
                 index == 0, stop, [&](i64 first, i64 last) {
                   kernels.run(c, first, last, memory.data() + index * scratch);
                 });
    }
  });
  if (stop) throw Interrupted();
}

// Whether the kernel for depthwise layers computes this layer, with signals of these strides.
template <class S>
bool is_depthwise(const PackedWeight<S>& weight, const Signal<const S>& input,
                  const Signal<S>& output) {
  const Layer& layer = weight.layer;
  const i64 s = layer.stride;
  const bool interleaved = s == 1 || s == 2 || s == 4 || s == 8;
  return weight.plan.filters && interleaved && s <= kernels_of<S>(weight.isa).lanes &&
         layer.kernel >= s && (s == 1 || layer.dilation == 1) && input.position_stride == 1 &&
         output.position_stride == 1;
}

// T of a depthwise layer by depthwise.hpp. Returns false, having done nothing, where that kernel
// cannot compute it, or where most samples are near the ends and would be computed one by one.
template <class S>
bool forward_depthwise(const PackedWeight<S>& weight, i64 batch, const Signal<const S>& input,
                       const S* bias, const Signal<S>& output, i64 padding_left,
                       Extension extension, const Carried<S>& carried) {
  if (!is_depthwise(weight, input, output)) return false;
  const Kernels<S>& kernels = kernels_of<S>(weight.isa);
  DepthwiseCall<S> c =
      depthwise_call(weight, input, bias, output, padding_left, extension, carried);
  const i64 reach = (c.most - 1) * c.shift_frames;
  if (c.most > kernels.run_steps ||
      c.last_whole - c.first_whole < std::max(kernels.lanes, 2 * reach))
    return false;
  const i64 rows = batch * c.channels, frames = c.last_frame - c.first_frame;
  const int threads = threads_for(real_product(rows, frames, c.kernel));
  choose_pieces(c, kernels, rows, threads);
  const i64 units = rows * c.pieces;
  parallel(static_cast<int>(std::clamp<i64>(threads, 1, std::max<i64>(units, 1))),
           [&](int index, int count) {
             kernels.depthwise(c, share(units, index, count), share(units, index + 1, count));
           });
  return true;
}

// Samples that no tap reaches hold the bias (and the residual) alone.
template <class S>
void fill(const PackedWeight<S>& weight, i64 batch, const S* bias, const Signal<S>& output,
          const Signal<const S>& residual) {
  const i64 channels = weight.layer.groups * weight.layer.out_channels, rows = batch * channels;
  const int threads =
      static_cast<int>(std::min<i64>(threads_for(real_product(rows, output.length)), rows));
  parallel(threads, [&](int index, int count) {
    kernels_of<S>(weight.isa)
        .fill(output, bias, residual, channels, share(rows, index, count),
              share(rows, index + 1, count));
  });
}

// C of these frames; what frames outside the signal add to others is not part of it. Of a Conv1d
// whose taps fall, shift 0 reads where the last tap does.
template <class S>
Call<S> input_grad_call(const PackedWeight<S>& weight, i64 batch,
                        const Signal<const S>& grad_output, i64 padding_left, const Range& frames,
                        Extension source_extension) {
  const Layer& layer = weight.layer;
  const Product& p = weight.plan.products[0];
  Call<S> c{};
  c.product = p;
  c.source = grad_output;
  c.source_at = {layer.stride, taps_of(layer).phases > 1 ? layer.dilation : 0,
                 (p.falling ? (layer.kernel - 1) * layer.dilation : 0) - padding_left,
                 p.shift_frames * layer.stride};
  c.target_at = {1, 0, -frames.first, 0};
  c.batch = batch;
  c.groups = layer.groups;
  c.source_channels = layer.out_channels;
  c.target_channels = layer.in_channels;
  c.first_frame = frames.first;
  c.frames = frames.last - frames.first;
  c.extension = source_extension;
  return c;
}

// A Conv1d: C of an extended signal, as a map of its own.
template <class S>
void conv1d(const PackedWeight<S>& weight, i64 batch, const Signal<const S>& input, const S* bias,
            const Signal<S>& output, i64 padding_left, Extension extension, const Around<S>& around,
            const Carried<S>& carried) {
  if (batch == 0 || output.length == 0) return;
  std::vector<Call<S>> calls{
      conv1d_call(weight, batch, input, bias, output, padding_left, extension)};
  calls[0].around = around;
  calls[0].carried = carried;
  run(weight, calls, [] {});
}

}  // namespace

// Its frames are those of frames_reaching in reach.py, and among them those all of whose terms and
// samples exist. Tested by results: test_depthwise_kernel_and_the_general_one.
template <class S>
DepthwiseCall<S> depthwise_call(const PackedWeight<S>& weight, const Signal<const S>& input,
                                const S* bias, const Signal<S>& output, i64 padding_left,
                                Extension extension, const Carried<S>& carried) {
  const Layer& layer = weight.layer;
  const Taps taps = taps_of(layer);
  const i64 s = layer.stride, reach = (taps.most - 1) * taps.frames;
  DepthwiseCall<S> c{};
  c.source = input;
  c.carried = carried;
  c.target = output;
  c.weight = weight.data();
  c.bias = bias;
  c.channels = layer.groups;
  c.kernel = layer.kernel;
  c.phases = s;
  c.padding_left = padding_left;
  c.most = taps.most;
  c.most_phases = taps.most_phases;
  c.fewer = taps.most_phases < s ? taps.most - 1 : taps.most;
  c.shift_frames = taps.frames;
  c.extension = extension;
  c.first_frame = padding_left / s;
  c.last_frame = (output.length - 1 + padding_left) / s + 1;
  c.first_whole = std::max(divide_up(padding_left, s), reach + carried.length);
  c.last_whole = std::min((output.length + padding_left) / s, input.length);
  return c;
}

template <class S>
Call<S> conv1d_call(const PackedWeight<S>& weight, i64 batch, const Signal<const S>& input,
                    const S* bias, const Signal<S>& output, i64 padding_left, Extension extension) {
  Call<S> c = input_grad_call(weight, batch, input, padding_left, {0, output.length}, extension);
  c.bias = bias;
  c.target = output;
  return c;
}

template <class S>
void forward(const PackedWeight<S>& weight, i64 batch, const Signal<const S>& input, const S* bias,
             const Signal<S>& output, i64 padding_left, Extension extension,
             const Around<S>& around, const Carried<S>& carried) {
  if (weight.direction == Direction::conv1d)
    return conv1d(weight, batch, input, bias, output, padding_left, extension, around, carried);
  if (!around.residual.data && around.negative_slope == 1 &&
      forward_depthwise(weight, batch, input, bias, output, padding_left, extension, carried))
    return;
  const Layer& layer = weight.layer;
  std::vector<Call<S>> calls;
  for (const Product& p : weight.plan.products) {
    const Range frames = frames_onto(p, layer, padding_left, output.length);
    if (frames.first == frames.last) continue;
    Call<S> c{};
    c.product = p;
    c.bias = bias;
    c.source = input;
    c.carried = carried;
    c.target = output;
    c.around = around;
    c.source_at = {1, 0, 0, p.shift_frames};
    c.target_at = {layer.stride, layer.dilation, -padding_left, 0};
    c.batch = batch;
    c.groups = layer.groups;
    c.source_channels = layer.in_channels;
    c.target_channels = layer.out_channels;
    c.first_frame = frames.first;
    c.frames = frames.last - frames.first;
    c.extension = extension;
    calls.push_back(c);
  }
  if (batch == 0) return;
  run(weight, calls, [&] {
    if (!taps_of(layer).all_samples) fill(weight, batch, bias, output, around.residual);
  });
}

namespace {

// The frames outside a signal with the frames that they copy, by rising copied frame. They can be
// more than any memory holds (a large dilation, a gradient that repeats one number): that is known
// before any is written.
std::vector<Copy> copies_of(const Outside& outside, i64 length) {
  std::vector<Copy> copies;
  i64 count = 0;
  for (const Range& interval : outside.intervals)
    count += std::max<i64>(interval.last - interval.first, 0);
  if (count > static_cast<i64>(copies.max_size())) throw std::bad_alloc();
  copies.reserve(static_cast<std::size_t>(count));
  for (const Range& interval : outside.intervals)
    for (i64 t = interval.first; t < interval.last; ++t)
      copies.push_back(
          {source_frame(t, length, outside.extension), static_cast<i64>(copies.size())});
  std::stable_sort(copies.begin(), copies.end(),
                   [](const Copy& a, const Copy& b) { return a.frame < b.frame; });
  return copies;
}

}  // namespace

template <class S>
void input_grad(const PackedWeight<S>& weight, i64 batch, const Signal<const S>& grad_output,
                const Signal<S>& grad_input, i64 padding_left, const Outside& outside) {
  if (batch == 0 || grad_input.length == 0) return;
  const auto call = [&](const Range& frames) {
    return input_grad_call(weight, batch, grad_output, padding_left, frames, zeros);
  };
  std::vector<Call<S>> inside{call({0, grad_input.length})};
  inside[0].target = grad_input;
  const std::vector<Copy> copies = copies_of(outside, grad_input.length);
  if (copies.empty()) return run(weight, inside, [] {});

  const i64 count = static_cast<i64>(copies.size());
  const Scratch<Sum<S>> sums(batch * weight.layer.groups * weight.layer.in_channels * count);
  std::vector<Call<S>> calls;
  i64 done = 0;
  for (const Range& interval : outside.intervals) {
    if (interval.first >= interval.last) continue;
    calls.push_back(call(interval));
    calls.back().edges = {sums.data() + done, count, nullptr};
    done += interval.last - interval.first;
  }
  inside[0].edges = {sums.data(), count, copies.data()};
  // There are two calls: a weight that each call would pack for itself is packed here, once.
  std::optional<PackedWeight<S>> whole;
  if (!weight.packed())
    whole.emplace(weight.weight, weight.layer, weight.direction, Packing::kept, weight.isa);
  run(whole ? *whole : weight, calls, [] {});
  run(whole ? *whole : weight, inside, [] {});
}

#define FS_MAPS(S)                                                                                 \
  template class PackedWeight<S>;                                                                  \
  template void forward<S>(const PackedWeight<S>&, i64, const Signal<const S>&, const S*,          \
                           const Signal<S>&, i64, Extension, const Around<S>&, const Carried<S>&); \
  template void input_grad<S>(const PackedWeight<S>&, i64, const Signal<const S>&,                 \
                              const Signal<S>&, i64, const Outside&);                              \
  template Call<S> conv1d_call<S>(const PackedWeight<S>&, i64, const Signal<const S>&, const S*,   \
                                  const Signal<S>&, i64, Extension);                               \
  template DepthwiseCall<S> depthwise_call<S>(const PackedWeight<S>&, const Signal<const S>&,      \
                                              const S*, const Signal<S>&, i64, Extension,          \
                                              const Carried<S>&);
FS_MAPS(float)
FS_MAPS(double)
FS_MAPS(float16)
FS_MAPS(bfloat16)

}  // namespace fracstride
