#include "maps.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <optional>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "threads.hpp"

namespace fracstride {
namespace {

constexpr i64 cache_line = 64;  // bytes
constexpr std::size_t huge_page = 2 * 1024 * 1024;
constexpr std::size_t huge_block = 32 * 1024 * 1024;  // malloc gives such a one back at once
constexpr i64 block_bytes = 384 * 1024;       // packed frames of a block: a share of the L2 cache
constexpr i64 grad_block_bytes = 256 * 1024;  // sums of a block of the weight's gradient
constexpr i64 most_tiles = 8;                 // of frames in one block
constexpr i64 few_uses = 1;                   // of a panel, up to which each packs it for itself
constexpr i64 few_rows = 8;                   // that are not worth packing the input for
constexpr i64 fewest_rows = 4;                // that are worth their products
constexpr i64 products_per_thread = 256 * 1024;  // multiply-adds below which a thread costs more

i64 divide_up(i64 a, i64 b) { return (a + b - 1) / b; }
i64 round_up(i64 a, i64 b) { return divide_up(a, b) * b; }

i64 share(i64 total, i64 index, i64 count) {
  return total / count * index + std::min(index, total % count);
}

int threads_for(double products) {
  const double wanted = products / products_per_thread;
  return static_cast<int>(std::clamp<double>(wanted, 1, get_threads()));
}

template <class S>
Format format_of(const Kernels<S>& kernels) {
  return {kernels.panel_rows, kernels.lanes, kernels.multiplies_pairs};
}

// How the frames of a call are cut into blocks, and each packed. None of it touches the result.
template <class S>
void choose_blocks(Call<S>& call, const Kernels<S>& kernels, int threads) {
  const Product& p = call.product;
  const i64 terms = p.steps;
  i64 channels = 0;
  for (const Segment& s : p.segments) channels += s.words;
  constexpr i64 word_bytes = sizeof(Sum<S>);
  const i64 lanes = kernels.lanes, tile = kernels.tile_frames;
  const i64 reach = (p.segments[0].shifts - 1) * std::abs(p.shift_frames);
  const i64 panels = divide_up(row_count(p), kernels.panel_rows);

  const i64 fitting = block_bytes / word_bytes / std::max<i64>(channels, 1);
  // A block much shorter than what its shifts reach would be packing most of the time.
  const i64 most = std::clamp(std::max(fitting - reach, std::min(reach, most_tiles * tile)), tile,
                              most_tiles * tile);
  // Weights are read once per block, so that a little more than fits costs less than a second
  // block.
  const i64 blocks = 2 * call.frames <= 3 * most ? 1 : divide_up(call.frames, most);
  call.block_frames = std::min(call.frames, round_up(divide_up(call.frames, blocks), tile));
  if (threads > 1) {
    const i64 others = call.batch * call.groups * panels;
    // Packing a frame, in times of its products with a panel: about a dozen elements' worth each.
    const double packing = 12.0 * channels / (std::min(row_count(p), kernels.panel_rows) * terms);
    double least = std::numeric_limits<double>::infinity();
    // As even as tiles allow, and not cut further than that takes.
    for (i64 parts = std::max(blocks, divide_up(threads, others)), i = 0; i < 3; ++i, parts *= 2)
      for (const i64 grain : {tile, lanes}) {
        const i64 frames = std::min(call.frames, round_up(divide_up(call.frames, parts), grain));
        const i64 units = divide_up(others * divide_up(call.frames, frames), threads);
        const double products =
            static_cast<double>(units) * (frames + (frames % tile ? lanes / 2 : 0));
        const double cost =
            products + packing * divide_up(units, panels) * static_cast<double>(frames + reach);
        if (cost < 0.97 * least) {
          least = cost;
          call.block_frames = frames;
        }
      }
  }
  call.blocks = divide_up(call.frames, call.block_frames);

  const i64 frames = round_up(call.block_frames, lanes);
  call.separate_shifts =
      static_cast<double>(terms) * frames < static_cast<double>(channels) * (frames + reach);
  call.window = call.separate_shifts ? frames : frames + reach;
  // An odd number of cache lines, so that the rows of a block do not share a few cache sets.
  const i64 line = cache_line / word_bytes;
  call.window = (divide_up(call.window, line) | 1) * line;
  call.in_place = !is_half<S> && row_count(p) <= few_rows && !call.separate_shifts &&
                  call.source.position_stride == 1 && call.source_at.frame == 1 &&
                  call.source_at.phase_step == 0 && call.around.negative_slope == 1;
}

// The first unit of a thread's share. Shares are equal in frames, as nearly as units allow, and not
// in units: the last block of a signal may be short.
template <class S>
i64 first_unit(const Call<S>& call, i64 panels, i64 index, i64 count) {
  const i64 signal = call.frames * panels, block = call.block_frames * panels;
  const i64 work = share(call.batch * call.groups * signal, index, count);
  const i64 b = (work % signal) / block;
  const i64 frames = std::min(call.block_frames, call.frames - b * call.block_frames);
  const i64 within = work % signal - b * block;
  return (work / signal * call.blocks + b) * panels + (2 * within + frames) / (2 * frames);
}

// `prepare` writes to the output: it comes after everything that can fail.
template <class S, class Prepare>
void run(const PackedWeight<S>& weight, std::vector<Call<S>>& calls, const Prepare& prepare) {
  const Kernels<S>& kernels = kernels_of<S>(weight.isa);
  double products = 0;
  for (const Call<S>& c : calls)
    // What few rows cost is reading their frames.
    products += static_cast<double>(c.batch) * c.groups * c.frames * c.product.steps *
                std::max(row_count(c.product), fewest_rows);
  int threads = threads_for(products);
  i64 most_uses = 0, most_units = 0;
  for (Call<S>& c : calls) {
    choose_blocks(c, kernels, threads);
    most_uses = std::max(most_uses, c.batch * c.blocks);
    most_units = std::max(most_units, c.batch * c.groups * c.blocks *
                                          divide_up(row_count(c.product), kernels.panel_rows));
  }
  std::optional<PackedWeight<S>> whole;
  if (!weight.packed() && most_uses > few_uses)
    whole.emplace(weight.weight, weight.layer, weight.direction, Packing::kept, weight.isa);
  const PackedWeight<S>& used = whole ? *whole : weight;
  i64 scratch = 0;
  for (Call<S>& c : calls) {
    c.packed = used.data();
    c.packed_group = used.plan.packed_group;
    c.weight = used.weight;
    c.weight_group = used.group_size();
    c.skip_absent = c.extension == zeros && !(used.packed() && used.finite());
    scratch = std::max(scratch, kernels.scratch(c));
  }
  threads = static_cast<int>(std::min<i64>(threads, std::max<i64>(most_units, 1)));
  scratch = round_up(scratch, cache_line / static_cast<i64>(sizeof(Sum<S>)));
  const Scratch<Sum<S>> memory(scratch * threads);
  prepare();
  parallel(threads, [&](int index, int count) {
    for (const Call<S>& c : calls) {
      const i64 panels = divide_up(row_count(c.product), kernels.panel_rows);
      kernels.run(c, first_unit(c, panels, index, count), first_unit(c, panels, index + 1, count),
                  memory.data() + index * scratch);
    }
  });
}

template <class S>
i64 unit_count(const WeightGradCall<S>& call) {
  return call.groups * call.row_blocks * call.column_blocks * call.shift_blocks;
}

// Blocks of the weight's gradient: as large as its sums fit the cache, but enough for all threads.
template <class S>
void choose_grad_blocks(WeightGradCall<S>& call, const GradKernels<S>& kernels, int threads) {
  const Product& p = call.product;
  const i64 shifts = p.segments[0].shifts;
  const i64 panels = call.depthwise ? 1 : divide_up(row_count(p), kernels.columns);
  const i64 most = grad_block_bytes / static_cast<i64>(sizeof(Sum<S>)) / kernels.columns;
  call.row_block = std::min<i64>(128, round_up(call.in_channels, kernels.rows));
  call.shift_block =
      std::clamp<i64>(most / call.row_block, 1, std::min<i64>(shifts, most_shift_block));
  call.column_block = std::clamp<i64>(most / (call.row_block * call.shift_block), 1, panels);
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

}  // namespace

template <class T>
Scratch<T>::Scratch(i64 elements) {
  constexpr i64 most = std::numeric_limits<std::ptrdiff_t>::max() / sizeof(T);
  if (elements > most) throw std::bad_alloc();
  const std::size_t size = static_cast<std::size_t>(std::max<i64>(elements, 1)) * sizeof(T);
  const std::align_val_t alignment{size < huge_block ? std::size_t{cache_line} : huge_page};
  data_ = {static_cast<T*>(::operator new(size, alignment)), Free{alignment}};
#ifdef MADV_HUGEPAGE
  // Fresh memory of this size is mostly page faults otherwise. A refusal changes nothing.
  if (size >= huge_block) madvise(data_.get(), size, MADV_HUGEPAGE);
#endif
}

template <class T>
void Scratch<T>::Free::operator()(T* p) const {
  ::operator delete(p, alignment);
}

template <class S>
PackedWeight<S>::PackedWeight(const S* weight_, const Layer& layer_, Direction direction_,
                              Packing packing, const InstructionSet& isa_)
    : layer(layer_),
      direction(direction_),
      isa(isa_),
      plan((direction == Direction::forward ? plan_forward : plan_input_grad)(
          layer, format_of(kernels_of<S>(isa)))),
      // Copying a filter that is used as it lies costs next to nothing.
      weight(packing == Packing::once && plan.packed ? weight_ : nullptr) {
  if (!weight) pack(weight_);
}

template <class S>
i64 PackedWeight<S>::group_size() const {
  return layer.in_channels * layer.out_channels * layer.kernel;
}

template <class S>
void PackedWeight<S>::pack(const S* from) {
  const Kernels<S>& kernels = kernels_of<S>(isa);
  const i64 group = group_size();
  // A vector of rows may be loaded past the last row of a filter that is used as it lies.
  packed_ = Scratch<Sum<S>>(layer.groups * plan.packed_group + kernels.panel_rows);
  finite_ = kernels.all_finite(from, layer.groups * group);
  std::fill_n(packed_.data() + layer.groups * plan.packed_group, kernels.panel_rows, Sum<S>(0));
  if (!plan.packed) {
    kernels.widen(from, packed_.data(), layer.groups * group);
    return;
  }
  const int threads = threads_for(static_cast<double>(layer.groups) * group);
  i64 scratch = 0;
  for (const Product& p : plan.products) scratch = std::max(scratch, kernels.pack_scratch(p));
  const Scratch<Sum<S>> memory(scratch * threads);
  parallel(threads, [&](int index, int count) {
    for (const Product& p : plan.products) {
      const i64 panels = divide_up(row_count(p), kernels.panel_rows);
      const i64 last = share(layer.groups * panels, index + 1, count);
      for (i64 i = share(layer.groups * panels, index, count); i < last;) {
        const i64 g = i / panels, end = std::min(last, (g + 1) * panels);
        kernels.pack_panels(p, from + g * group, packed_.data() + g * plan.packed_group,
                            i - g * panels, end - g * panels, memory.data() + index * scratch);
        i = end;
      }
    }
  });
}

namespace {

// T of a depthwise layer by the kernel that is made for it; false where that does not know how, or
// where too little lies between the ends of the signal to be worth it.
template <class S>
bool forward_depthwise(const PackedWeight<S>& weight, i64 batch, const Signal<const S>& input,
                       const S* bias, const Signal<S>& output, i64 padding_left,
                       Extension extension, const Carried<S>& carried) {
  const Layer& layer = weight.layer;
  const Kernels<S>& kernels = kernels_of<S>(weight.isa);
  const i64 s = layer.stride;
  const bool interleaved = s == 1 || s == 2 || s == 4 || s == 8;
  if (weight.plan.packed || !interleaved || s > kernels.lanes || layer.kernel < s ||
      (s > 1 && layer.dilation > 1) || input.position_stride != 1 || output.position_stride != 1)
    return false;
  const Taps taps = taps_of(layer);
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
  const i64 reach = (taps.most - 1) * taps.frames;
  c.first_frame = padding_left / s;
  c.last_frame = (output.length - 1 + padding_left) / s + 1;
  c.first_whole = std::max(divide_up(padding_left, s), reach + carried.length);
  c.last_whole = std::min((output.length + padding_left) / s, input.length);
  if (taps.most > kernels.run_steps ||
      c.last_whole - c.first_whole < std::max(kernels.lanes, 2 * reach))
    return false;
  const i64 rows = batch * layer.groups, frames = c.last_frame - c.first_frame;
  const int threads = threads_for(static_cast<double>(rows) * frames * layer.kernel);
  // A piece has a few vectors at the least; one thread takes rows as they are.
  const i64 wanted = threads > 1 ? divide_up(4 * threads, std::max<i64>(rows, 1)) : 1;
  c.piece_frames = std::max(divide_up(frames, wanted), 16 * kernels.lanes);
  c.pieces = divide_up(frames, c.piece_frames);
  const i64 units = rows * c.pieces;
  parallel(static_cast<int>(std::clamp<i64>(threads, 1, std::max<i64>(units, 1))),
           [&](int index, int count) {
             kernels.depthwise(c, share(units, index, count), share(units, index + 1, count));
           });
  return true;
}

}  // namespace

template <class S>
void forward(const PackedWeight<S>& weight, i64 batch, const Signal<const S>& input, const S* bias,
             const Signal<S>& output, i64 padding_left, Extension extension,
             const Around<S>& around, const Carried<S>& carried) {
  if (!around.residual.data && around.negative_slope == 1 &&
      forward_depthwise(weight, batch, input, bias, output, padding_left, extension, carried))
    return;
  const Layer& layer = weight.layer;
  std::vector<Call<S>> calls;
  for (const Product& p : weight.plan.products) {
    const FrameRange range = frames_onto(p, layer, padding_left, output.length);
    if (range.count == 0) continue;
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
    c.first_frame = range.first;
    c.frames = range.count;
    c.extension = extension;
    calls.push_back(c);
  }
  if (batch == 0) return;
  run(weight, calls, [&] {
    if (taps_of(layer).all_samples) return;
    const i64 channels = layer.groups * layer.out_channels, rows = batch * channels;
    const int threads = static_cast<int>(
        std::min<i64>(threads_for(static_cast<double>(rows) * output.length), rows));
    parallel(threads, [&](int index, int count) {
      kernels_of<S>(weight.isa)
          .fill(output, bias, around.residual, channels, share(rows, index, count),
                share(rows, index + 1, count));
    });
  });
}

namespace {

// C without what frames outside the signal add to others.
template <class S>
Call<S> input_grad_call(const PackedWeight<S>& weight, i64 batch,
                        const Signal<const S>& grad_output, i64 padding_left, i64 first_frame,
                        i64 frames, Extension source_extension) {
  const Layer& layer = weight.layer;
  const Product& p = weight.plan.products[0];
  Call<S> c{};
  c.product = p;
  c.source = grad_output;
  c.source_at = {layer.stride, layer.dilation, -padding_left, p.shift_frames * layer.stride};
  c.target_at = {1, 0, -first_frame, 0};
  c.batch = batch;
  c.groups = layer.groups;
  c.source_channels = layer.out_channels;
  c.target_channels = layer.in_channels;
  c.first_frame = first_frame;
  c.frames = frames;
  c.extension = source_extension;
  return c;
}

// Which frame of a signal each frame outside copies.
std::vector<Copy> copies_of(const Outside& outside, i64 length) {
  std::vector<Copy> copies;
  for (const Interval& interval : outside.intervals)
    for (i64 t = interval.start; t < interval.stop; ++t)
      copies.push_back(
          {source_frame(t, length, outside.extension), static_cast<i64>(copies.size())});
  std::stable_sort(copies.begin(), copies.end(),
                   [](const Copy& a, const Copy& b) { return a.frame < b.frame; });
  return copies;
}

}  // namespace

template <class S>
void input_grad(const PackedWeight<S>& weight, i64 batch, const Signal<const S>& grad_output,
                const Signal<S>& grad_input, i64 padding_left, const Outside& outside,
                Extension source_extension) {
  if (batch == 0 || grad_input.length == 0) return;
  const auto call = [&](const Interval& frames) {
    return input_grad_call(weight, batch, grad_output, padding_left, frames.start,
                           frames.stop - frames.start, source_extension);
  };
  std::vector<Call<S>> inside{call({0, grad_input.length})};
  inside[0].target = grad_input;
  const std::vector<Copy> copies = copies_of(outside, grad_input.length);
  if (copies.empty()) return run(weight, inside, [] {});

  const i64 count = static_cast<i64>(copies.size());
  const Scratch<Sum<S>> sums(batch * weight.layer.groups * weight.layer.in_channels * count);
  std::vector<Call<S>> calls;
  i64 done = 0;
  for (const Interval& interval : outside.intervals) {
    if (interval.start >= interval.stop) continue;
    calls.push_back(call(interval));
    calls.back().edges = {sums.data() + done, count, nullptr};
    done += interval.stop - interval.start;
  }
  inside[0].edges = {sums.data(), count, copies.data()};
  // A weight for one call serves two here.
  std::optional<PackedWeight<S>> whole;
  if (!weight.packed())
    whole.emplace(weight.weight, weight.layer, weight.direction, Packing::kept, weight.isa);
  run(whole ? *whole : weight, calls, [] {});
  run(whole ? *whole : weight, inside, [] {});
}

template <class S>
void input_grad(const PackedWeight<S>& weight, i64 batch, const Signal<const S>& grad_output,
                const Signal<S>& grad_input, i64 padding_left, i64 first_frame) {
  std::vector<Call<S>> calls{input_grad_call(weight, batch, grad_output, padding_left, first_frame,
                                             grad_input.length, zeros)};
  calls[0].target = grad_input;
  if (batch > 0 && grad_input.length > 0) run(weight, calls, [] {});
}

template <class S>
void weight_grad(const Layer& whole, i64 batch, const Signal<const S>& input,
                 const Signal<const S>& grad_output, S* grad_weight, i64 padding_left,
                 Extension extension) {
  const GradKernels<S>& kernels = grad_kernels_of<S>(instruction_set());
  const bool one_frame = input.length == 1 && extension == zeros;
  const Layer layer = one_frame ? for_one_frame(whole) : whole;
  const i64 weights = layer.groups * layer.in_channels * layer.out_channels * layer.kernel;
  const int wanted = threads_for(static_cast<double>(batch) * input.length * weights);
  // The classes of T are those of R; its panels do not matter here.
  const Plan plan = plan_forward(layer, {kernels.columns, kernels.lanes, false});
  std::vector<WeightGradCall<S>> calls;
  i64 scratch = 0, most_units = 0;
  for (const Product& p : plan.products) {
    const FrameRange range = frames_onto(p, layer, padding_left, grad_output.length);
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
    c.first_frame = range.first;
    c.frames = range.count;
    c.depthwise = !plan.packed;
    c.pairs = kernels.multiplies_pairs && !c.depthwise;
    const i64 frames_per_word = c.pairs ? 2 : 1;
    const i64 most = c.depthwise ? depthwise_run_steps : grad_run_steps * frames_per_word;
    const i64 runs = std::max<i64>(1, divide_up(c.frames, most));
    // Whole vectors, where a run has many: then only the last run has one that is not full.
    const i64 grain = c.depthwise && c.frames > most ? kernels.lanes : frames_per_word;
    c.run_frames = round_up(std::max<i64>(1, divide_up(c.frames, runs)), grain);
    c.column_is_tap = p.rows.phases == layer.kernel;
    c.extension = extension;
    choose_grad_blocks(c, kernels, wanted);
    most_units = std::max(most_units, unit_count(c));
    scratch = std::max(scratch, kernels.scratch(c));
    calls.push_back(c);
  }
  const int threads = static_cast<int>(std::min<i64>(wanted, most_units));
  scratch = round_up(scratch, cache_line / static_cast<i64>(sizeof(Sum<S>)));
  const Scratch<Sum<S>> memory(scratch * threads);
  parallel(threads, [&](int index, int count) {
    for (const WeightGradCall<S>& c : calls)
      kernels.run(c, share(unit_count(c), index, count), share(unit_count(c), index + 1, count),
                  memory.data() + index * scratch);
  });
}

template <class S>
void bias_grad(i64 batch, i64 channels, const Signal<const S>& grad_output, S* grad_bias) {
  const GradKernels<S>& kernels = grad_kernels_of<S>(instruction_set());
  const double samples = static_cast<double>(batch) * channels * grad_output.length;
  const int threads = static_cast<int>(std::min<i64>(threads_for(samples), channels));
  parallel(threads, [&](int index, int count) {
    kernels.bias(grad_output, batch, grad_bias, share(channels, index, count),
                 share(channels, index + 1, count));
  });
}

i64 multiply_adds(i64 rounds) {
  std::atomic<i64> done{0};
  parallel(get_threads(), [&](int, int) {
    float value = 0.5f;
    done += rounds * instruction_set().multiply_adds(rounds, value);
    if (value == 0) done = 0;  // it never is; but then it has to be computed
  });
  return done;
}

bool read_floats(const float* values, i64 count) {
  return kernels_of<float>(instruction_set()).all_finite(values, count);
}

void copy_bytes(const void* from, void* to, i64 bytes, i64 times) {
  parallel(get_threads(), [&](int index, int count) {
    const i64 first = share(bytes, index, count), last = share(bytes, index + 1, count);
    for (i64 i = 0; i < times; ++i)
      std::memcpy(static_cast<char*>(to) + first, static_cast<const char*>(from) + first,
                  static_cast<std::size_t>(last - first));
  });
}

#define FS_MAPS(S)                                                                                 \
  template class PackedWeight<S>;                                                                  \
  template void forward<S>(const PackedWeight<S>&, i64, const Signal<const S>&, const S*,          \
                           const Signal<S>&, i64, Extension, const Around<S>&, const Carried<S>&); \
  template void input_grad<S>(const PackedWeight<S>&, i64, const Signal<const S>&,                 \
                              const Signal<S>&, i64, const Outside&, Extension);                   \
  template void input_grad<S>(const PackedWeight<S>&, i64, const Signal<const S>&,                 \
                              const Signal<S>&, i64, i64);                                         \
  template void weight_grad<S>(const Layer&, i64, const Signal<const S>&, const Signal<const S>&,  \
                               S*, i64, Extension);                                                \
  template void bias_grad<S>(i64, i64, const Signal<const S>&, S*);
template class Scratch<float>;
template class Scratch<double>;
FS_MAPS(float)
FS_MAPS(double)
FS_MAPS(float16)
FS_MAPS(bfloat16)

}  // namespace fracstride
