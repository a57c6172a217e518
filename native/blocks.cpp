#include "blocks.hpp"

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "plan.hpp"
#include "scratch.hpp"

namespace fracstride {
namespace {

constexpr i64 block_bytes = 384 * 1024;       // packed frames of a block: a share of the L2 cache
constexpr i64 grad_block_bytes = 384 * 1024;  // sums of a block of the weight's gradient
constexpr i64 filter_bytes = 8 * 1024;        // packed frames of a filter: a share of the L1 cache
constexpr i64 most_tiles = 8;                 // tiles of frames in one block
constexpr i64 few_words = 128;                // of a sum
constexpr i64 long_tiles = 64;                // tiles of frames in a block of such sums
constexpr i64 few_rows = 8;                   // up to which packing the input does not pay
constexpr i64 most_grad_rows = 128;           // of one unit of the weight's gradient

// Words of one packed frame.
i64 words_of_frame(const Product& p) {
  i64 words = 0;
  for (const Segment& s : p.segments) words += s.words;
  return words;
}

// How many frames beyond a block its shifts reach.
i64 reach_of(const Product& p) { return (p.segments[0].shifts - 1) * std::abs(p.shift_frames); }

// The most frames of a block whose packed frames stay in the cache.
template <class S>
i64 most_frames(const Call<S>& call, i64 tile) {
  constexpr i64 word_bytes = sizeof(Sum<S>);
  const i64 reach = reach_of(call.product);
  const i64 fitting = block_bytes / word_bytes / std::max<i64>(words_of_frame(call.product), 1);
  // Where a sum has few words, storing it takes longest, and long stretches of a row are stored
  // faster than short ones.
  const bool few = call.product.steps <= few_words && row_count(call.product) > few_rows;
  const i64 tiles = few ? long_tiles : most_tiles;
  // A block much shorter than what its shifts reach would be packing most of the time.
  return std::clamp(std::max(fitting - reach, std::min(reach, tiles * tile)), tile, tiles * tile);
}

// Blocks that a signal is cut into.
template <class S>
i64 blocks_for_cache(const Call<S>& call, i64 tile) {
  const i64 most = most_frames(call, tile);
  // Weights are read once per block: a little more than fits costs less than a second block.
  return 2 * call.frames <= 3 * most ? 1 : divide_up(call.frames, most);
}

// The frames of a block where several threads share the work. Of a few numbers of blocks, `blocks`
// or more, the one is taken that should need the least time.
template <class S>
i64 frames_for_threads(const Call<S>& call, const Kernels<S>& kernels, i64 blocks, int threads) {
  const Product& p = call.product;
  const i64 lanes = kernels.lanes, tile = kernels.tile_frames, reach = reach_of(p);
  const i64 panels = panel_count(call, kernels);
  const i64 others = call.batch * call.groups * panels;
  // The cost of packing a frame, in units of the cost of its products with a panel: a packed word
  // costs as much as about a dozen products.
  const double packing = 12.0 * static_cast<double>(words_of_frame(p)) /
                         static_cast<double>(std::min(row_count(p), kernels.panel_rows) * p.steps);
  double least = std::numeric_limits<double>::infinity();
  i64 best = call.frames;
  for (i64 parts = std::max(blocks, divide_up(threads, others)), i = 0; i < 3; ++i, parts *= 2)
    for (const i64 grain : {tile, lanes}) {
      const i64 frames = std::min(call.frames, round_up(divide_up(call.frames, parts), grain));
      const i64 units = divide_up(others * divide_up(call.frames, frames), threads);
      const double products = real_product(units, frames + (frames % tile ? lanes / 2 : 0));
      const double cost = products + packing * static_cast<double>(divide_up(units, panels)) *
                                         static_cast<double>(frames + reach);
      if (cost < 0.97 * least) {
        least = cost;
        best = frames;
      }
    }
  return best;
}

// Whether all shifts of `frames` frames read one packed row: that has fewer words than a row for
// each of them.
template <class S>
bool shares_rows(const Call<S>& call, i64 frames) {
  const Product& p = call.product;
  return real_product(p.steps, frames) >= real_product(words_of_frame(p), frames + reach_of(p));
}

// Frames at both ends of what each entry's frames read that are zeros, in every row.
template <class S>
i64 zeros_around(const Call<S>& call) {
  if (call.extension != zeros) return 0;
  const Product& p = call.product;
  const Positions& at = call.source_at;
  const Axis& last = p.segments[p.segments[1].axis.channels ? 1 : 0].axis;
  const i64 reach = reach_of(p), back = p.shift_frames < 0 ? reach : 0;
  const i64 start = (call.first_frame - back) * at.frame + at.base;
  const i64 low = start + p.segments[0].axis.first_phase * at.phase_step;
  const i64 high = start + (last.first_phase + last.phases - 1) * at.phase_step;
  const i64 before = ceil_div(-high, at.frame);
  const i64 after = call.frames + reach - ceil_div(call.source.length - low, at.frame);
  return std::max<i64>(std::min(before, after), 0);
}

// Where signals are short, several batch entries share a block, and with it vectors and tiles. What
// is computed then between two entries, and shifts that bring no frame of a tile onto its signal,
// must not cost more than lanes that stay empty otherwise.
template <class S>
void choose_entries(Call<S>& call, const Kernels<S>& kernels, int threads) {
  const i64 tile = kernels.tile_frames, frames = call.frames, reach = reach_of(call.product);
  if (call.batch < 2 || reach > frames || (frames > tile && 4 * reach > frames)) return;
  const i64 between = shares_rows(call, frames) ? reach - std::min(zeros_around(call), reach) : 0;
  const i64 pitch = frames + between;
  // A frame in a vector that is alone costs about a twentieth more than one in a full tile, and one
  // that is broadcast three twentieths; a single frame has a way of its own.
  const i64 rest = frames % kernels.lanes;
  if (20 * pitch > 21 * (frames - rest) + 23 * rest + 20) return;
  if (frames == 1 && call.batch * pitch < kernels.lanes) return;
  const i64 fitting = std::min(most_frames(call, tile) / pitch, call.batch);
  if (fitting < 2) return;
  const i64 blocks = std::min(round_up(divide_up(call.batch, fitting), threads), call.batch);
  call.entries = divide_up(call.batch, blocks);
  call.pitch = pitch;
}

// Whether filters.hpp computes a call: one row of sums, the weights of which are a filter.
template <class S>
bool is_filter(const Call<S>& call) {
  const Around<S>& around = call.around;
  // Not where the taps lie so far apart that most of a packed row is of no use.
  const double packed =
      real_product(words_of_frame(call.product), call.frames + reach_of(call.product));
  const double products = real_product(call.product.steps, call.frames);
  return packed < 4 * products + 4096 && row_count(call.product) == 1 &&
         call.product.step_stride == 1 && !call.product.pairs && call.target.position_stride == 1 &&
         call.target_at.frame == 1 && !call.edges.sums && !around.residual_carried.data &&
         (!around.residual.data || around.residual.position_stride == 1);
}

// The frames of a block of a filter: its packed rows stay in the first-level cache.
template <class S>
i64 frames_of_filter(const Call<S>& call, const Kernels<S>& kernels, int threads) {
  constexpr i64 word_bytes = sizeof(Sum<S>);
  const i64 reach = reach_of(call.product), least = 16 * kernels.lanes;
  const i64 fitting = filter_bytes / word_bytes / words_of_frame(call.product) - reach;
  const i64 most = std::max({fitting, 2 * reach, least});
  const i64 rows = std::max<i64>(call.batch * call.groups, 1);
  const i64 wanted = threads > 1 ? divide_up(4 * threads, rows) : 1;
  const i64 blocks = std::max(divide_up(call.frames, most), wanted);
  return std::min(call.frames, round_up(divide_up(call.frames, blocks), least));
}

// How the frames of a block are packed, if they are.
template <class S>
void choose_rows(Call<S>& call, const Kernels<S>& kernels) {
  const Product& p = call.product;
  const i64 all = (call.entries - 1) * call.pitch + call.block_frames;
  const i64 frames = round_up(all, kernels.lanes), reach = reach_of(p);
  call.separate_shifts =
      !call.filter && !shares_rows(call, call.entries > 1 ? call.block_frames : frames);
  call.window = call.separate_shifts ? frames : frames + reach;
  // Sums of a filter are made for several vectors, and read one beyond.
  if (call.filter) call.window = round_up(frames, 8 * kernels.lanes) + reach + kernels.lanes;
  // An odd number of cache lines, so that the rows of a block do not share a few cache sets.
  const i64 line = cache_line / static_cast<i64>(sizeof(Sum<S>));
  call.window = (divide_up(call.window, line) | 1) * line;
  call.in_place = !is_half<S> && row_count(p) <= few_rows && !call.separate_shifts &&
                  call.entries == 1 && call.source.position_stride == 1 &&
                  call.source_at.frame == 1 && call.source_at.phase_step == 0 &&
                  call.around.negative_slope == 1;
}

}  // namespace

template <class S>
i64 panel_count(const Call<S>& call, const Kernels<S>& kernels) {
  return divide_up(row_count(call.product), kernels.panel_rows);
}

template <class S>
i64 entry_blocks(const Call<S>& call) {
  return divide_up(call.batch, call.entries);
}

template <class S>
void choose_blocks(Call<S>& call, const Kernels<S>& kernels, int threads) {
  const i64 tile = kernels.tile_frames, blocks = blocks_for_cache(call, tile);
  call.filter = is_filter(call);
  call.entries = 1;
  call.pitch = call.frames;
  if (!call.filter) choose_entries(call, kernels, threads);
  if (call.filter)
    call.block_frames = frames_of_filter(call, kernels, threads);
  else if (call.entries > 1)
    call.block_frames = call.frames;
  else if (threads > 1)
    call.block_frames = frames_for_threads(call, kernels, blocks, threads);
  else
    call.block_frames = std::min(call.frames, round_up(divide_up(call.frames, blocks), tile));
  call.blocks = divide_up(call.frames, call.block_frames);
  choose_rows(call, kernels);
}

template <class S>
i64 first_unit(const Call<S>& call, i64 panels, i64 index, i64 count) {
  const i64 signal = call.frames * panels, block = call.block_frames * panels;
  const i64 work = share(entry_blocks(call) * call.groups * signal, index, count);
  const i64 b = (work % signal) / block;
  const i64 frames = std::min(call.block_frames, call.frames - b * call.block_frames);
  const i64 within = work % signal - b * block;
  return (work / signal * call.blocks + b) * panels + (2 * within + frames) / (2 * frames);
}

template <class S>
i64 unit_count(const WeightGradCall<S>& call) {
  return call.groups * call.row_blocks * call.column_blocks * call.shift_blocks;
}

template <class S>
void choose_blocks(WeightGradCall<S>& call, const GradKernels<S>& kernels, int threads) {
  const Product& p = call.product;
  const i64 shifts = p.segments[0].shifts;
  const i64 panels = call.depthwise ? 1 : divide_up(row_count(p), kernels.columns);
  const i64 most = grad_block_bytes / static_cast<i64>(sizeof(Sum<S>)) / kernels.columns;
  call.row_block = std::min(most_grad_rows, round_up(call.in_channels, kernels.rows));
  call.shift_block =
      std::clamp<i64>(most / call.row_block, 1, std::min<i64>(shifts, most_shift_block));
  call.one_run = !is_half<S> && call.column_is_tap && shifts == 1 && call.batch == 1 &&
                 call.frames <= call.run_frames;
  // Sums that are made in the gradient need no cache, but the samples of all panels do.
  const i64 held = call.one_run ? call.run_frames : call.row_block * call.shift_block;
  call.column_block = std::clamp<i64>(most / held, 1, std::min(panels, most_column_block));
  const auto cut = [&] {
    call.row_blocks = divide_up(call.in_channels, call.row_block);
    call.column_blocks = divide_up(panels, call.column_block);
    call.shift_blocks = divide_up(shifts, call.shift_block);
    return unit_count(call);
  };
  const i64 enough = threads > 1 ? 4 * threads : 1;
  while (cut() < enough) {
    if (call.column_block > 1)
      call.column_block = divide_up(call.column_block, 2);
    else if (call.row_block > 4 * kernels.rows)
      call.row_block = round_up(divide_up(call.row_block, 2), kernels.rows);
    else if (call.shift_block > 1)
      call.shift_block = divide_up(call.shift_block, 2);
    else
      break;
  }
  if (threads == 1) call.column_block = divide_up(panels, call.column_blocks);
  const i64 reach = (call.shift_block - 1) * std::abs(p.shift_frames);
  call.separate_shifts = reach > (call.shift_block - 1) * call.run_frames;
  // A last vector of a run may read past it, with any shift.
  const i64 vector = kernels.lanes * (call.pairs ? 2 : 1);
  const i64 frames = round_up(call.run_frames, vector);
  call.window = round_up(frames + (call.separate_shifts ? 0 : reach), vector);
}

template <class S>
void choose_pieces(DepthwiseCall<S>& call, const Kernels<S>& kernels, i64 rows, int threads) {
  const i64 frames = call.last_frame - call.first_frame;
  // A piece has a few vectors at the least; one thread takes rows as they are.
  const i64 wanted = threads > 1 ? divide_up(4 * threads, std::max<i64>(rows, 1)) : 1;
  call.piece_frames = std::max(divide_up(frames, wanted), 16 * kernels.lanes);
  call.pieces = divide_up(frames, call.piece_frames);
}

#define FS_BLOCKS(S)                                                              \
  template void choose_blocks<S>(Call<S>&, const Kernels<S>&, int);               \
  template i64 panel_count<S>(const Call<S>&, const Kernels<S>&);                 \
  template i64 entry_blocks<S>(const Call<S>&);                                   \
  template i64 first_unit<S>(const Call<S>&, i64, i64, i64);                      \
  template void choose_blocks<S>(WeightGradCall<S>&, const GradKernels<S>&, int); \
  template i64 unit_count<S>(const WeightGradCall<S>&);                           \
  template void choose_pieces<S>(DepthwiseCall<S>&, const Kernels<S>&, i64, int);
FS_BLOCKS(float)
FS_BLOCKS(double)
FS_BLOCKS(float16)
FS_BLOCKS(bfloat16)

}  // namespace fracstride
