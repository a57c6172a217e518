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

// A row of several entries whose frames lie side by side and are words as they are: position
// `start` of each of them on, `count` of them, with zeros for those outside.
template <class T>
static void copy_entries(const Signal<const T>& signal, const Block& block, i64 channel, i64 start,
                         i64 count, i64 pitch, i64 window, T* packed) {
  constexpr i64 lanes = Vec<T>::lanes;
  const i64 low = smaller(larger(-start, 0), count);
  const i64 own = smaller(larger(signal.length - start, low), count) - low;
  __builtin_memset(packed, 0, static_cast<size_t>(window) * sizeof(T));
  const T* from = signal.data + block.entry * signal.batch_stride +
                  channel * signal.channel_stride + (start + low);
  packed += low;
  for (i64 e = 0; e < block.entries; ++e, packed += pitch) {
    const T* entry = from + e * signal.batch_stride;
    if (own < lanes) {
      copy_few(entry, packed, own);
      continue;
    }
    for (i64 i = 0; i < own - lanes; i += lanes) store(packed + i, load(entry + i));
    store(packed + own - lanes, load(entry + own - lanes));
  }
}

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
  if constexpr (__is_same(W, S))
    if (block.entries > 1 && at.frame == 1 && call.source.position_stride == 1 &&
        call.extension == zeros && !call.carried.data)
      return copy_entries(call.source, block, block.group * call.source_channels + u / axis.phases,
                          start, count, call.pitch, call.window, packed);
  for (i64 e = 0; e < block.entries; ++e) {
    const Row<S> channel = row_of(call.source, call.carried, block.entry + e,
                                  block.group * call.source_channels + u / axis.phases);
    const i64 padded = e + 1 < block.entries ? count : call.window - e * call.pitch;
    copy_row<Into>(channel, call.source.length, start, at.frame, count, padded, call.extension,
                   packed + e * call.pitch);
  }
}

// to[q * row + i] = from[q * phase_step + i * by] for `count` frames i of each phase q. A vector
// may be written past the last one where there are `room` elements.
template <class S, int by>
static void split_phases(const S* from, i64 phases, i64 phase_step, i64 count, i64 room, i64 row,
                         Sum<S>* to) {
  constexpr i64 lanes = Vec<S>::lanes;
  for (i64 q = 0; q < phases; ++q)
    for (i64 i = 0; i < count; i += lanes) {
      const auto frames = load_strided<S, by>(from + q * phase_step + i * by);
      Sum<S>* here = to + q * row + i;
      if (i + lanes <= room) {
        store(here, frames);
        continue;
      }
      Sum<S> piece[lanes];
      store(piece, frames);
      copy_few(piece, here, smaller(lanes, count - i));
    }
}

// The most elements that all phases of a channel of one entry read, with the zeros around it.
static constexpr i64 most_split = 512;

// Whether the phases of short signals are taken apart by split_phases. Otherwise each row is packed
// by itself.
template <class S>
static bool splits_phases(const Call<S>& call, const Block& block) {
  const Positions& at = call.source_at;
  const Product& p = call.product;
  const i64 spread = (p.segments[0].axis.phases + p.segments[1].axis.phases) * at.phase_step;
  return block.entries > 1 && !call.separate_shifts && at.frame > 1 && at.frame <= 8 &&
         call.source.position_stride == 1 && call.extension == zeros && !call.carried.data &&
         spread < most_split &&
         (block.frames + window_reach(p) + Vec<S>::lanes) * at.frame + spread <= most_split;
}

// All rows of a channel of a segment, for each entry: its positions are copied with the zeros
// around them, and taken apart from there. Entries are written one after the other, each over what
// the one before has written past its end.
template <class S>
static void pack_phases(const Call<S>& call, const Block& block, const Axis& axis, i64 channel,
                        Sum<S>* packed) {
  const Positions& at = call.source_at;
  const i64 start = (block.first_frame - window_back(call.product)) * at.frame + at.base +
                    axis.first_phase * at.phase_step;
  const i64 count = block.frames + window_reach(call.product);
  const i64 all = (count - 1) * at.frame + (axis.phases - 1) * at.phase_step + 1;
  const i64 low = smaller(larger(-start, 0), all);
  const i64 own = smaller(larger(call.source.length - start, low), all) - low;
  S positions[most_split] = {};
  const S* from = call.source.data + block.entry * call.source.batch_stride +
                  (block.group * call.source_channels + channel) * call.source.channel_stride +
                  (start + low);
  for (i64 e = 0; e < block.entries; ++e, from += call.source.batch_stride) {
    copy_few(from, positions + low, own);
    Sum<S>* to = packed + e * call.pitch;
    const i64 room = e + 1 < block.entries ? call.window - e * call.pitch : count;
    with_stride(at.frame, [&](auto by) {
      split_phases<S, decltype(by)::value>(positions, axis.phases, at.phase_step, count, room,
                                           call.window, to);
    });
  }
  const i64 filled = (block.entries - 1) * call.pitch + count;
  for (i64 q = 0; q < axis.phases; ++q)
    for (i64 i = filled; i < call.window; ++i) packed[q * call.window + i] = 0;
}

// Whether a row of words is a row of the signal: neighbours of one entry, as they are stored.
template <class S, class W>
static bool keeps_rows(const Call<S>& call, const Block& block) {
  return __is_same(S, W) && block.entries == 1 && call.source_at.frame == 1 &&
         call.source.position_stride == 1 && call.product.segments[0].axis.phases == 1 &&
         call.product.segments[1].axis.channels == 0;
}

// Packs a row that lies within the signal, as all of a stream's do but the first and last: `count`
// numbers, then zeros up to `window`, a multiple of a vector.
template <class T>
static inline void copy_inside(const T* from, i64 count, i64 window, T negative_slope, T* to) {
  constexpr i64 lanes = Vec<T>::lanes;
  typedef typename Vec<T>::type V;
  const auto bend = [&](V x) { return negative_slope == 1 ? x : x > 0 ? x : x * negative_slope; };
  const i64 whole = count / lanes * lanes;
  for (i64 i = 0; i < whole; i += lanes) store(to + i, bend(load(from + i)));
  for (i64 i = whole; i < window; i += lanes) store(to + i, V{});
  if (whole == count) return;
  copy_few(from + whole, to + whole, count - whole);
  store(to + whole, bend(load(to + whole)));
}

template <class S, class W>
static void pack_block(const Call<S>& call, const Block& block, W* packed) {
  const i64 reach = call.separate_shifts ? 0 : window_reach(call.product);
  if constexpr (!is_pair<W>)
    if (splits_phases(call, block)) {
      for (const Segment& segment : call.product.segments)
        for (i64 c = 0; c < segment.axis.channels; ++c) {
          pack_phases(call, block, segment.axis, c, packed);
          for (i64 q = 0; q < segment.axis.phases; ++q, packed += call.window)
            if (call.around.negative_slope != 1)
              bend<S>(packed, all_frames(call, block) + reach, call.around.negative_slope);
        }
      return;
    }
  const Positions& at = call.source_at;
  const i64 count = block.frames + reach;
  const bool keeps = keeps_rows<S, W>(call, block);
  const i64 back = call.separate_shifts ? 0 : window_back(call.product);
  const i64 begin = block.first_frame - back + at.base +
                    call.product.segments[0].axis.first_phase * at.phase_step;
  const i64 carried = call.carried.data ? call.carried.length : 0;
  for (const Segment& segment : call.product.segments) {
    const Axis& axis = segment.axis;
    const i64 channels = axis.channels * axis.phases;
    const i64 rows = call.separate_shifts ? segment.shifts : 1;
    for (i64 word = 0; word < segment.words; ++word)
      for (i64 j = 0; j < rows; ++j, packed += call.window) {
        if constexpr (__is_same(S, W)) {
          const i64 start = begin + j * at.shift;
          if (keeps && start >= carried && start + count <= call.source.length) {
            const i64 channel = block.group * call.source_channels + word;
            copy_inside<S>(call.source.data + block.entry * call.source.batch_stride +
                               channel * call.source.channel_stride + start,
                           count, call.window, call.around.negative_slope, packed);
            continue;
          }
        }
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
