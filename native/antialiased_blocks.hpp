// T of a depthwise layer, a pointwise program and a depthwise Conv1d in one pass, block by block:
// the middle signal, of a higher rate as a rule, never leaves the cache. Included inside the
// namespace of one instruction set.
//
// A block computes what its outputs read of the middle signal: a row for each phase of the stride.
// Where both layers have the same stride, the first one's phases are the rows that the second one
// reads, so that nothing is interleaved and split again. Every step has the bits that it has alone:
// the sums are those of depthwise.hpp and filters.hpp, and numbers are rounded as if they had been
// stored. antialiased.cpp says which layers come here.

// The part of the middle signal that a block computes.
struct Middle {
  i64 first_frame, frames;  // of T: all their samples are computed
  i64 row;                  // elements from one row of a phase of T to the next
  i64 start, count;         // element i of row q that the Conv1d reads is position
  i64 by, phases;           // start + i * by + q, for q < phases
  i64 window;               // elements from one of these rows to the next
  bool same_rows;           // whether the rows of T are those that the Conv1d reads
};

// Where the parts of a thread's scratch memory begin, in elements.
struct AntialiasedSpace {
  i64 frames[2];   // of T's input, for two blocks
  i64 rows, down;  // of T, of the Conv1d
  i64 sums, number, end;
};

// From one row to the next. Between two there is room for a vector that is not full, and for an
// element before the first one. The number of cache lines is odd, so that rows do not share a few
// cache sets.
template <class S>
static inline i64 spaced(i64 elements) {
  constexpr i64 lanes = Vec<S>::lanes, line = line_bytes / i64{sizeof(Sum<S>)};
  return (divide_up(round_up(elements, lanes) + lanes, line) | 1) * line;
}

template <class S>
static Middle middle_of(const AntialiasedCall<S>& call, const Block& block) {
  const FilterRows<S> read = rows_of(call.down, block, nullptr);
  const i64 stride = call.up.phases, first = read.start + call.up.padding_left;
  Middle m;
  m.first_frame = floor_div(first, stride);
  m.frames = floor_div(first + read.count * read.by - 1, stride) + 1 - m.first_frame;
  m.row = spaced<S>(m.frames);
  m.start = read.start;
  m.count = read.count;
  m.by = read.by;
  m.phases = read.phases;
  m.same_rows = read.by == stride;
  m.window = m.same_rows ? m.row : spaced<S>(m.count);
  return m;
}

template <class S>
static AntialiasedSpace antialiased_space_of(const AntialiasedCall<S>& call) {
  constexpr i64 lanes = Vec<S>::lanes, line = line_bytes / i64{sizeof(Sum<S>)};
  const Call<S>& down = call.down;
  const i64 stride = call.up.phases, by = down.source_at.frame;
  const i64 count = down.block_frames + window_reach(down.product);
  const i64 frames = divide_up(count * by, stride) + 1;  // wherever a block begins
  const i64 input = round_up(frames + call.up.most + lanes, line);
  AntialiasedSpace space{{0, input}, 2 * input, 0, 0, 0, 0};
  const i64 rows = space.rows + stride * spaced<S>(frames);
  space.down = by == stride ? space.rows : rows;
  space.sums = rows + 2 * line + (by == stride ? 0 : by * spaced<S>(count));
  space.number = space.sums + round_up(down.block_frames, line);
  space.end = space.number + lanes;
  return space;
}

template <class S>
static i64 antialiased_scratch(const AntialiasedCall<S>& call) {
  return antialiased_space_of(call).end;
}

// What T reads for a block, as filters.hpp packs it.
template <class S>
static inline FilterRows<S> input_of(const AntialiasedCall<S>& call, const Block& block,
                                     const Middle& middle, Sum<S>* packed) {
  const Signal<const S>& source = call.up.source;
  const i64 reach = call.up.most - 1;
  return {source.data + block.entry * source.batch_stride + block.group * source.channel_stride,
          source.length,
          middle.first_frame - reach,
          1,
          call.up.extension,
          1,
          0,
          middle.frames + reach,
          1,
          packed};
}

template <class S>
static inline void pack_input(const AntialiasedCall<S>& call, const FilterRows<S>& input) {
  const i64 step = call.up.source.position_stride;
  if (step == 1) return pack_rows(input);
  const Row<S> row{input.signal, step, nullptr, 0, 0};
  copy_row<Widened<S>>(row, input.length, input.start, 1, input.count, input.count + Vec<S>::lanes,
                       input.extension, input.packed);
}

// A channel of T: frame f of the block is frames[f], and its phase p goes to rows[p][f].
template <class S>
struct Upward {
  const Sum<S>*frames, *weight;
  Sum<S> bias;
  i64 fewer, most, most_phases;
  Sum<S>* rows[8];  // null where nothing reads the phase
};

// All P phases of U vectors of frames from f on, as depthwise_frames sums them.
template <class S, int P, int U>
static inline void upward_frames(const Upward<S>& up, i64 f) {
  typedef typename Vec<S>::type V;
  constexpr i64 lanes = Vec<S>::lanes;
  V sums[P][U] = {};
  const Sum<S>*from = up.frames + f, *w = up.weight;
  V frames[U];
  const auto read = [&] {
#pragma GCC unroll 8
    for (int v = 0; v < U; ++v)
      frames[v] = P == 1 ? load(from + v * lanes) : in_register(load(from + v * lanes));
  };
  const auto add = [&](int p) {
    const V tap = broadcast(w[p]);
#pragma GCC unroll 8
    for (int v = 0; v < U; ++v) sums[p][v] += tap * frames[v];
  };
  for (i64 j = 0; j < up.fewer; ++j, --from, w += P) {
    read();
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) add(p);
  }
  if (up.fewer < up.most) {
    read();
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p)
      if (p < up.most_phases) add(p);
  }
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p)
    if (up.rows[p])
#pragma GCC unroll 8
      for (int v = 0; v < U; ++v)
        store(up.rows[p] + f + v * lanes, rounded<S>((V{} + sums[p][v]) + up.bias));
}

template <class S, int P>
static void upward(const Upward<S>& up, i64 frames) {
  constexpr int unroll = 8 / P;  // sums that do not wait for each other
  constexpr i64 lanes = Vec<S>::lanes;
  i64 f = 0;
  for (; f + unroll * lanes <= frames; f += unroll * lanes) upward_frames<S, P, unroll>(up, f);
  for (; f < frames; f += lanes) upward_frames<S, P, 1>(up, f);
}

// The rows of a block: T, and the program.
template <class S>
static inline void compute_rows(const AntialiasedCall<S>& call, i64 channel, const Middle& m,
                                const Sum<S>* frames, Sum<S>* rows) {
  constexpr i64 lanes = Vec<S>::lanes;
  const DepthwiseCall<S>& t = call.up;
  Upward<S> up{frames + (t.most - 1),
               t.weight + channel * t.kernel,
               t.bias ? widen(t.bias[channel]) : Sum<S>(0),
               t.fewer,
               t.most,
               t.most_phases,
               {}};
  i64 count = m.frames, used = t.phases;
  if (m.same_rows) {
    // Row q holds the phase that position start + q has. After the last phase comes the first one
    // of the next frame, which is element -1 of its row.
    const i64 phase = m.start + t.padding_left - m.first_frame * t.phases;
    for (i64 q = 0; q < m.phases; ++q)
      up.rows[(phase + q) % t.phases] = rows + q * m.row - (phase + q >= t.phases);
    count = m.count, used = m.phases;
  } else {
    for (i64 p = 0; p < t.phases; ++p) up.rows[p] = rows + p * m.row;
  }
  // The program runs over all rows as one: between them are zeros, which take no longer than
  // others.
  for (i64 q = 0; q < used; ++q)
    for (i64 i = count / lanes * lanes; i < m.row; i += lanes)
      store(rows + q * m.row + i, typename Vec<S>::type{});
  with_stride(t.phases, [&](auto phases) { upward<S, decltype(phases)::value>(up, m.frames); });
  call.apply(*call.program, channel, rows, (used - 1) * m.row + count);
}

// Brings the rows of T into the order in which the Conv1d reads them.
template <class S>
static inline void reorder_rows(const AntialiasedCall<S>& call, const Middle& m, const Sum<S>* rows,
                                Sum<S>* down) {
  const i64 stride = call.up.phases, phases = m.by % stride, frames = m.by / stride;
  for (i64 q = 0; q < m.phases; ++q) {
    i64 p = m.start + q + call.up.padding_left - m.first_frame * stride, f = p / stride;
    p -= f * stride;
    for (i64 i = 0; i < m.count; ++i) {
      down[q * m.window + i] = rows[p * m.row + f];
      p += phases, f += frames;
      if (p >= stride) p -= stride, ++f;
    }
    store(down + q * m.window + m.count, typename Vec<S>::type{});  // as pack_rows does it
  }
}

// A position of the middle signal that a block need not have computed: `number` has room for a
// vector.
template <class S>
static Sum<S> compute_number(const AntialiasedCall<S>& call, const Block& block, i64 position,
                             Sum<S>* number) {
  const i64 channel = block.group;
  const Row<S> x = row_of(call.up.source, Carried<S>{}, block.entry, channel);
  Sum<S> sum = depthwise_sample(call.up, x, call.up.weight + channel * call.up.kernel, position);
  if (call.up.bias) sum += widen(call.up.bias[channel]);
  store(number, typename Vec<S>::type{});
  *number = rounded<S>(sum);
  call.apply(*call.program, channel, number, 1);
  return *number;
}

// Positions of the middle signal before its first sample and behind its last one.
template <class S>
static void extend_rows(const AntialiasedCall<S>& call, const Block& block, const Middle& m,
                        Sum<S>* down, Sum<S>* number) {
  const i64 length = call.down.source.length;
  if (m.start >= 0 && m.start + m.count * m.by <= length) return;
  i64 known = -1;  // the position whose value was found last: edges repeat it
  Sum<S> value = 0;
  const auto find = [&](i64 position) {
    if (position == known) return value;
    known = position;
    const i64 i = (position - m.start) / m.by, q = position - m.start - i * m.by;
    if (position >= m.start && i < m.count && q < m.phases)
      value = down[q * m.window + i];
    else
      value = compute_number(call, block, position, number);
    return value;
  };
  for (i64 q = 0; q < m.phases; ++q) {
    const i64 start = m.start + q;
    const i64 low = smaller(larger(ceil_div(-start, m.by), 0), m.count);
    const i64 high = smaller(larger(ceil_div(length - start, m.by), low), m.count);
    const auto extend = [&](i64 from, i64 to) {
      for (i64 i = from; i < to; ++i) {
        const i64 position = source_frame(start + i * m.by, length, call.down.extension);
        down[q * m.window + i] = position < 0 ? Sum<S>(0) : find(position);
      }
    };
    extend(0, low);
    extend(high, m.count);
  }
}

template <class S>
static void antialiased(const AntialiasedCall<S>& call, i64 first_unit, i64 last_unit,
                        Sum<S>* scratch) {
  if (first_unit >= last_unit) return;
  const AntialiasedSpace space = antialiased_space_of(call);
  Call<S> down = call.down;
  const Segment* segments = down.product.segments;
  const Runs runs[2]{Runs(segments[0]), Runs(segments[1])};
  struct Work {
    Block block;
    Middle middle;
    FilterRows<S> input;
  };
  const auto work_of = [&](i64 index) {
    const Block block = block_of(call.down, smaller(index, last_unit - 1));
    const Middle middle = middle_of(call, block);
    Sum<S>* packed = scratch + space.frames[(index - first_unit) % 2];
    return Work{block, middle, input_of(call, block, middle, packed)};
  };
  Work next = work_of(first_unit), after = work_of(first_unit + 1);
  pack_input(call, next.input);
  Sum<S>*const rows = scratch + space.rows, *const read = scratch + space.down;
  for (i64 index = first_unit; index < last_unit; ++index) {
    const Work work = next;
    const Block& block = work.block;
    compute_rows(call, block.group, work.middle, work.input.packed, rows);
    if (!work.middle.same_rows) reorder_rows(call, work.middle, rows, read);
    extend_rows(call, block, work.middle, read, scratch + space.number);
    // The next block's input is packed some time before it is read, and the one after it fetched:
    // see run_filters.
    next = after;
    after = work_of(index + 2);
    if (index + 1 < last_unit) pack_input(call, next.input);
    down.window = work.middle.window;
    Filter<S> filter = filter_of(down, runs, block, read);
    fetch_signal(after.input, block.frames, filter);
    filter_block(down, block, filter, scratch + space.sums);
  }
}
