// The frames of a block in the maps T and C: how they are packed, and which terms of their sums
// exist. Included inside the namespace of one instruction set.
//
// A unit is one panel of one block of frames of one group of one batch entry; the panels of a block
// are consecutive units, so that a thread packs each of its blocks once. Of short signals, a block
// has all frames of several batch entries, one behind the other: to the tile they are one signal.

struct Block {
  i64 entry, entries, group, first_frame, frames;  // frames: of each entry
};

template <class S>
static Block block_of(const Call<S>& call, i64 index) {
  const i64 block = index % call.blocks, rest = index / call.blocks;
  const i64 begin = block * call.block_frames, entry = rest / call.groups * call.entries;
  return {entry, smaller(call.entries, call.batch - entry), rest % call.groups,
          call.first_frame + begin, smaller(call.block_frames, call.frames - begin)};
}

// The frames of all entries of a block. Frames between two entries are of neither.
template <class S>
static i64 all_frames(const Call<S>& call, const Block& block) {
  return (block.entries - 1) * call.pitch + block.frames;
}

// The shifts of a block reach this many frames beyond it, in one direction.
static inline i64 window_reach(const Product& p) {
  return (p.segments[0].shifts - 1) * (p.shift_frames < 0 ? -p.shift_frames : p.shift_frames);
}

static inline i64 window_back(const Product& p) { return p.shift_frames < 0 ? window_reach(p) : 0; }

// Packs row u of a segment: as words, or as one half of each word. Where the last frames that one
// entry reads and the first frames that the next one reads are zeros, they share these.
template <class Into, class S, class W>
static void pack_row(const Call<S>& call, const Block& block, const Axis& axis, i64 u, i64 j,
                     W* packed) {
  const Product& p = call.product;
  const Positions& at = call.source_at;
  const i64 back = call.separate_shifts ? 0 : window_back(p);
  const i64 reach = call.separate_shifts ? 0 : window_reach(p);
  const i64 base = (axis.first_phase + u % axis.phases) * at.phase_step + at.base;
  const i64 start = (block.first_frame - back) * at.frame + base + j * at.shift;
  const i64 count = block.frames + reach;
  for (i64 e = 0; e < block.entries; ++e) {
    const Row<S> channel = row_of(call.source, call.carried, block.entry + e,
                                  block.group * call.source_channels + u / axis.phases);
    const i64 padded = e + 1 < block.entries ? count : call.window - e * call.pitch;
    copy_row<Into>(channel, call.source.length, start, at.frame, count, padded, call.extension,
                   packed + e * call.pitch);
  }
}

template <class S, class W>
static void pack_block(const Call<S>& call, const Block& block, W* packed) {
  const i64 reach = call.separate_shifts ? 0 : window_reach(call.product);
  for (const Segment& segment : call.product.segments) {
    const Axis& axis = segment.axis;
    const i64 channels = axis.channels * axis.phases;
    const i64 rows = call.separate_shifts ? segment.shifts : 1;
    for (i64 word = 0; word < segment.words; ++word)
      for (i64 j = 0; j < rows; ++j, packed += call.window) {
        if constexpr (is_pair<W>) {
          pack_row<FirstHalves>(call, block, axis, 2 * word, j, packed);
          if (2 * word + 1 < channels)
            pack_row<SecondHalves>(call, block, axis, 2 * word + 1, j, packed);
        } else {
          pack_row<Widened<S>>(call, block, axis, word, j, packed);
        }
        if (call.around.negative_slope != 1)
          bend<S>(packed, all_frames(call, block) + reach, call.around.negative_slope);
      }
  }
}

// Which terms exist: all that follows is what taps_reaching in reach.py says with `within`, for
// many frames at once. It is tested by results: test_nan_and_inf_go_where_the_definition_says,
// test_prefix.

// The least and the greatest position that shift 0 of frames [first, first + count) reads.
struct Bounds {
  i64 low, high;
};

template <class S>
static Bounds bounds(const Call<S>& call, i64 first, i64 count) {
  const Positions& at = call.source_at;
  i64 low_phase = 0, high_phase = 0;
  for (const Segment& segment : call.product.segments) {
    if (segment.axis.channels == 0) continue;
    high_phase = segment.axis.first_phase + segment.axis.phases - 1;  // phases rise
  }
  low_phase = call.product.segments[0].axis.first_phase;
  return {first * at.frame + at.base + low_phase * at.phase_step,
          (first + count - 1) * at.frame + at.base + high_phase * at.phase_step};
}

// Whether every term of every row exists for these frames.
template <class S>
static bool all_present(const Call<S>& call, i64 first, i64 count) {
  const Bounds b = bounds(call, first, count);
  const i64 reach = (call.product.segments[0].shifts - 1) * call.source_at.shift;
  return b.low + smaller(reach, 0) >= 0 && b.high + larger(reach, 0) < call.source.length;
}

// The shifts that read some position of the signal for these frames. The others would add zeros,
// which changes no bit.
template <class S>
static Range shifts_onto(const Call<S>& call, i64 first, i64 count) {
  const i64 shifts = call.product.segments[0].shifts, step = call.source_at.shift;
  if (call.extension != zeros) return {0, shifts};
  const Bounds b = bounds(call, first, count);
  const i64 end = call.source.length - 1;
  if (step == 0) return b.high >= 0 && b.low <= end ? Range{0, shifts} : Range{0, 0};
  const i64 low = step > 0 ? ceil_div(-b.high, step) : ceil_div(b.low - end, -step);
  const i64 high = step > 0 ? floor_div(end - b.low, step) : floor_div(b.high, -step);
  const i64 from = larger(low, 0);
  return {from, larger(from, smaller(high + 1, shifts))};
}

// One term: writes the frames' word to `value`. A half that does not exist becomes 0 there and in
// `weight`. Returns whether any half exists.
template <class S, class W>
static inline bool present(const Call<S>& call, const Block& block, const Axis& axis, i64 word,
                           i64 frame, i64 j, W& weight, W& value) {
  const Positions& at = call.source_at;
  const auto read = [&](i64 u, S& x) {
    const i64 n = frame * at.frame + at.base +
                  (axis.first_phase + u % axis.phases) * at.phase_step + j * at.shift;
    if (n < 0 || n >= call.source.length) return false;
    const Row<S> channel = row_of(call.source, call.carried, block.entry,
                                  block.group * call.source_channels + u / axis.phases);
    x = channel.at(n);
    if (call.around.negative_slope != 1)
      x = nearest_of<S>(bent<S>(widen(x), call.around.negative_slope));
    return true;
  };
  S x{};
  if constexpr (is_pair<W>) {
    S second{};
    const bool one = read(2 * word, x);
    const bool two = 2 * word + 1 < axis.channels * axis.phases && read(2 * word + 1, second);
    weight.bits &= (one ? 0xffffu : 0) | (two ? 0xffff0000u : 0);
    value = {std::uint32_t{x.bits} | std::uint32_t{second.bits} << 16};
    return one || two;
  } else {
    const bool exists = read(word, x);
    value = widen(x);
    return exists;
  }
}
