#include "antialiased.hpp"

#include <algorithm>

#include "scratch.hpp"
#include "threads.hpp"

namespace fracstride {
namespace {

constexpr i64 block_bytes =
    12 * 1024;  // rows and input of a block: with the program's, an L1 cache
constexpr i64 most_stride = 8;

template <class S>
bool is_fitting(const Filtering<S>& layer, Direction direction) {
  const PackedWeight<S>& weight = layer.weight;
  return weight.direction == direction && weight.plan.filters &&
         &weight.isa == &instruction_set() && weight.layer.dilation == 1 &&
         weight.layer.stride <= most_stride && (layer.extension != zeros || weight.finite());
}

// The outputs of a block.
template <class S>
void choose_block(AntialiasedCall<S>& call, const Kernels<S>& kernels, int threads) {
  Call<S>& c = call.down;
  const i64 by = c.source_at.frame, rows = c.batch * c.groups;
  const double bytes = real_product(sizeof(Sum<S>), by) *
                       (1.0 + 1.0 / static_cast<double>(call.up.phases));  // of an output
  const i64 least = 4 * kernels.lanes,
            most = std::max(least, static_cast<i64>(block_bytes / bytes));
  const i64 wanted = threads > 1 ? divide_up(4 * threads, rows) : 1;
  const i64 blocks = std::max(divide_up(c.frames, most), wanted);
  c.block_frames = std::min(c.frames, round_up(divide_up(c.frames, blocks), least));
  c.blocks = divide_up(c.frames, c.block_frames);
  c.entries = 1;
  c.pitch = c.frames;
}

}  // namespace

template <class S>
bool antialiased(const Filtering<S>& up, const Program<S>& program, const Filtering<S>& down,
                 i64 batch, const Signal<const S>& input, i64 middle, const Signal<S>& output) {
  const Layer& layer = up.weight.layer;
  const Kernels<S>& kernels = kernels_of<S>(instruction_set());
  if (!is_fitting(up, Direction::forward) || !is_fitting(down, Direction::conv1d) ||
      layer.groups != down.weight.layer.groups || layer.kernel < layer.stride ||
      divide_up(layer.kernel, layer.stride) > kernels.run_steps || input.length < 1 || middle < 1)
    return false;
  if (batch == 0 || output.length == 0) return true;
  AntialiasedCall<S> call;
  call.up = depthwise_call(up.weight, input, up.bias, Signal<S>{nullptr, 0, 0, 0, middle},
                           up.padding_left, up.extension, {});
  call.program = &program.program();
  call.apply = pointwise_kernels_of<S>(instruction_set()).apply;
  call.down = conv1d_call(down.weight, batch, Signal<const S>{nullptr, 0, 0, 1, middle}, down.bias,
                          output, down.padding_left, down.extension);
  call.down.packed = down.weight.data();
  call.down.packed_group = down.weight.plan.packed_group;
  const double samples = real_product(batch, layer.groups, middle);
  const double taps =
      static_cast<double>(divide_up(layer.kernel, layer.stride)) + program.cost() +
      static_cast<double>(divide_up(down.weight.layer.kernel, down.weight.layer.stride));
  const int threads = threads_for(samples * taps);
  choose_block(call, kernels, threads);
  const i64 units = batch * layer.groups * call.down.blocks;
  const int used = static_cast<int>(std::min<i64>(threads, units));
  const i64 scratch = whole_lines<Sum<S>>(kernels.antialiased_scratch(call));
  const Scratch<Sum<S>> memory(scratch * used);
  parallel(used, [&](int index, int count) {
    kernels.antialiased(call, share(units, index, count), share(units, index + 1, count),
                        memory.data() + index * scratch);
  });
  return true;
}

#define FS_ANTIALIASED(S)                                                                        \
  template bool antialiased<S>(const Filtering<S>&, const Program<S>&, const Filtering<S>&, i64, \
                               const Signal<const S>&, i64, const Signal<S>&);
FS_ANTIALIASED(float)
FS_ANTIALIASED(double)
FS_ANTIALIASED(float16)
FS_ANTIALIASED(bfloat16)

}  // namespace fracstride
