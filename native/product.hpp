// The maps T and C: weight panels times packed frames, unit by unit. Included inside the namespace
// of one instruction set.
//
// A unit is one panel of one block of frames of one group of one batch entry; the panels of a block
// are consecutive units, so that a thread packs each of its blocks once.

struct Block {
  i64 entry, group, first_frame, frames;
};

template <class S>
static Block block_of(const Call<S>& call, i64 index) {
  const i64 block = index % call.blocks, rest = index / call.blocks;
  const i64 begin = block * call.block_frames;
  return {rest / call.groups, rest % call.groups, call.first_frame + begin,
          smaller(call.block_frames, call.frames - begin)};
}

// The shifts of a block reach this many frames beyond it, in one direction.
static inline i64 window_reach(const Product& p) {
  return (p.segments[0].shifts - 1) * (p.shift_frames < 0 ? -p.shift_frames : p.shift_frames);
}

static inline i64 window_back(const Product& p) { return p.shift_frames < 0 ? window_reach(p) : 0; }

// Row u of a segment, in words or in a half of them.
template <class Into, class S, class W>
static void pack_row(const Call<S>& call, const Block& block, const Axis& axis, i64 u, i64 j,
                     W* packed) {
  const Product& p = call.product;
  const Positions& at = call.source_at;
  const i64 back = call.separate_shifts ? 0 : window_back(p);
  const i64 reach = call.separate_shifts ? 0 : window_reach(p);
  const Row<S> channel = row_of(call.source, call.carried, block.entry,
                                block.group * call.source_channels + u / axis.phases);
  const i64 base = (axis.first_phase + u % axis.phases) * at.phase_step + at.base;
  copy_row<Into>(channel, call.source.length,
                 (block.first_frame - back) * at.frame + base + j * at.shift, at.frame,
                 block.frames + reach, call.window, call.extension, packed);
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
          bend<S>(packed, block.frames + reach, call.around.negative_slope);
      }
  }
}

// How the words of a segment are cut into runs: by channels (or pairs of them), and where one has
// more shifts than a run has words, by shifts too.
struct Runs {
  i64 all_channels, channels, shifts;

  explicit Runs(const Segment& segment)
      : all_channels(segment.words),
        channels(larger(1, run_steps / larger(segment.shifts, 1))),
        shifts(smaller(segment.shifts, run_steps)) {}
};

// The least and greatest positions that shift 0 takes frames [first, first + count) to.
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

// Shifts [first, last) are all that bring some of these frames onto the signal. The others would
// add zeros, which changes no bit.
struct Shifts {
  i64 first, last;
};

template <class S>
static Shifts shifts_onto(const Call<S>& call, i64 first, i64 count) {
  const i64 shifts = call.product.segments[0].shifts, step = call.source_at.shift;
  if (call.extension != zeros) return {0, shifts};
  const Bounds b = bounds(call, first, count);
  const i64 end = call.source.length - 1;
  if (step == 0) return b.high >= 0 && b.low <= end ? Shifts{0, shifts} : Shifts{0, 0};
  const i64 low = step > 0 ? ceil_div(-b.high, step) : ceil_div(b.low - end, -step);
  const i64 high = step > 0 ? floor_div(end - b.low, step) : floor_div(b.high, -step);
  const i64 from = larger(low, 0);
  return {from, larger(from, smaller(high + 1, shifts))};
}

// Of the word of row `word` and shift j of a frame: itself where all that it holds exists, else
// zeros in its place, and in that of the weight it meets; whether anything exists.
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

// The sums again, one by one, for frames where some term is absent: a weight that is not finite
// must not be multiplied by the zero that stands for a frame that does not exist.
template <class S, class W>
static void sum_present(const Call<S>& call, const Block& block, const W* panel, i64 rows,
                        Sum<S>* z, i64 z_row, i64 z_frame) {
  const Product& p = call.product;
  for (i64 f = 0; f < block.frames; ++f) {
    const i64 frame = block.first_frame + f;
    if (all_present(call, frame, 1)) continue;
    for (i64 r = 0; r < rows; ++r) {
      Sum<S> total = 0;
      const W* w = panel + r;
      for (const Segment& segment : p.segments) {
        const Runs runs(segment);
        for (i64 first = 0; first < runs.all_channels; first += runs.channels)
          for (i64 j0 = 0; j0 < segment.shifts; j0 += runs.shifts) {
            Sum<S> acc = 0;
            for (i64 u = first; u < smaller(first + runs.channels, runs.all_channels); ++u)
              for (i64 j = j0; j < smaller(j0 + runs.shifts, segment.shifts); ++j) {
                W weight = w[(u * segment.shifts + j) * p.step_stride], value;
                if (present(call, block, segment.axis, u, frame, j, weight, value))
                  acc = multiply_add(value, weight, acc);
              }
            total = total + acc;
          }
        w += runs.all_channels * segment.shifts * p.step_stride;
      }
      z[r * z_row + f * z_frame] = total;
    }
  }
}

template <class S>
static i64 scratch_elements(const Call<S>& call) {
  i64 rows = 0;
  for (const Segment& segment : call.product.segments)
    rows += segment.words * (call.separate_shifts ? segment.shifts : 1);
  constexpr i64 lanes = Vec<S>::lanes, width = panel_vectors * lanes;
  const i64 panel = call.packed ? 0 : call.product.panel_stride + pack_scratch(call.product);
  return panel + rows * call.window + width * round_up(call.block_frames, lanes) + width * lanes;
}

template <class S, class W>
static void run_words(const Call<S>& call, i64 first_unit, i64 last_unit, Sum<S>* scratch) {
  typedef Sum<S> T;
  constexpr int lanes = Vec<S>::lanes;
  constexpr i64 width = panel_vectors * lanes;
  const Product& p = call.product;
  const i64 all_rows = p.rows.channels * p.rows.phases;
  const i64 panels = (all_rows + width - 1) / width;
  const i64 z_row = round_up(call.block_frames, lanes);
  T* own_panel = scratch;  // where nothing is packed
  T* single = own_panel + (call.packed ? 0 : p.panel_stride);
  T* z = single + (call.packed ? 0 : pack_scratch(p));  // Z[row][frame]
  T* z_rest = z + width * z_row;                        // Z[frame][row] of the last few frames
  W* frames = reinterpret_cast<W*>(z_rest + width * lanes);
  const i64 frame_shift = call.separate_shifts ? call.window : p.shift_frames;
  const W* frames_at_shift_0 = frames + (call.separate_shifts ? 0 : window_back(p));

  i64 packed_block = -1;
  for (i64 unit = first_unit; unit < last_unit; ++unit) {
    const i64 panel_index = unit % panels;
    const Block block = block_of(call, unit / panels);
    const bool complete = all_present(call, block.first_frame, block.frames);
    const bool in_place =
        call.in_place && complete && block.first_frame - window_back(p) >= call.carried.length;
    if (!in_place && unit / panels != packed_block) {
      packed_block = unit / panels;
      pack_block(call, block, frames);
    }
    const Signal<const S>& source = call.source;
    const W* at_shift_0 = frames_at_shift_0;
    if constexpr (__is_same(S, W))
      if (in_place)
        at_shift_0 = source.data + block.entry * source.batch_stride +
                     block.group * call.source_channels * source.channel_stride + block.first_frame;
    const i64 window = in_place ? source.channel_stride : call.window;
    // Absent terms are told from zeros where a weight is not finite, of the panel at least.
    bool skip_absent = call.skip_absent && !complete;
    const T* words = own_panel;
    if (call.packed)
      words = call.packed + block.group * call.packed_group + p.packed_offset +
              panel_index * p.panel_stride;
    else if (pack_words(p, call.weight + block.group * call.weight_group, panel_index, own_panel,
                        single, skip_absent))
      skip_absent = false;
    const W* panel = reinterpret_cast<const W*>(words);
    const i64 rows = smaller(width, all_rows - panel_index * width);
    const i64 row_vectors = (rows + lanes - 1) / lanes;

    // Frames along the vector for whole vectors of frames; for the rest whichever costs less.
    i64 along = block.frames / lanes * lanes;
    if ((block.frames - along) * row_vectors > rows && !in_place)
      along = round_up(block.frames, lanes);
    const i64 along_end = smaller(along, block.frames);
    const i64 rest = block.frames - along_end;

    const Shifts all{0, p.segments[0].shifts};
    const Shifts of_rest =
        complete ? all : shifts_onto(call, block.first_frame + along_end, larger(rest, 1));
    const W* w = panel;
    bool first = true;
    i64 frame_base = 0;
    for (const Segment& segment : p.segments) {
      const Runs runs(segment);
      const i64 frame_channel = call.separate_shifts ? segment.shifts * window : window;
      const i64 w_channel = segment.shifts * p.step_stride;
      const Strides along_strides{frame_channel, frame_shift, w_channel, p.step_stride};
      const Strides rest_strides{w_channel, p.step_stride, frame_channel, frame_shift};
      const bool several_runs = block.frames == 1 && rest == 1 && of_rest.first == 0 &&
                                of_rest.last == segment.shifts && runs.shifts == segment.shifts;
      for (i64 u = 0; u < runs.all_channels; u += runs.channels) {
        if (several_runs && u + runs_at_once * runs.channels <= runs.all_channels) {
          const W* x = at_shift_0 + frame_base + u * frame_channel;
          (row_vectors == 1 ? tile_runs<W, 1>
                            : tile_runs<W, panel_vectors>)(w + u * w_channel, x, rest_strides,
                                                           runs.channels, segment.shifts, z_rest,
                                                           first);
          first = false;
          u += (runs_at_once - 1) * runs.channels;
          continue;
        }
        for (i64 j0 = 0; j0 < segment.shifts; j0 += runs.shifts) {
          const i64 channels = smaller(runs.channels, runs.all_channels - u);
          const i64 j1 = smaller(j0 + runs.shifts, segment.shifts);
          const W* x = at_shift_0 + frame_base + u * frame_channel;
          const W* wu = w + u * w_channel;
          for (i64 f = 0, vectors; f < along; f += vectors * lanes) {
            vectors = vectors_of_tile((along - f) / lanes, rows);
            const Shifts onto = complete ? all
                                         : shifts_onto(call, block.first_frame + f,
                                                       smaller(vectors * lanes, block.frames - f));
            const i64 from = larger(j0, onto.first), to = smaller(j1, onto.last);
            if (from >= to && !first) continue;
            for (i64 r = 0; r < rows; r += tile_rows)
              tiles<W, true>.by_size[smaller(tile_rows, rows - r) - 1][vectors - 1](
                  x + from * frame_shift + f, wu + from * p.step_stride + r, along_strides,
                  channels, larger(to - from, 0), z + r * z_row + f, z_row, first);
          }
          const i64 from = larger(j0, of_rest.first), to = smaller(j1, of_rest.last);
          for (i64 f = 0; f < rest; f += lane_frames)
            tiles<W, false>.by_size[smaller(lane_frames, rest - f) - 1][row_vectors - 1](
                wu + from * p.step_stride, x + from * frame_shift + along + f, rest_strides,
                channels, larger(to - from, 0), z_rest + f * width, width, first);
          first = false;
        }
      }
      w += runs.all_channels * w_channel;
      frame_base += runs.all_channels * frame_channel;
    }

    S* target = call.target.data + block.entry * call.target.batch_stride +
                block.group * call.target_channels * call.target.channel_stride;
    const S* bias = call.bias ? call.bias + block.group * call.target_channels : nullptr;
    const i64 first_channel = block.group * call.target_channels;
    Signal<const S> residual = call.around.residual;
    if (residual.data)
      residual.data +=
          block.entry * residual.batch_stride + first_channel * residual.channel_stride;
    const Carried<S>& early = call.around.residual_carried;
    Signal<const S> carried{early.data, early.batch_stride, early.channel_stride,
                            early.position_stride, early.length};
    if (carried.data)
      carried.data += block.entry * early.batch_stride + first_channel * early.channel_stride;
    const auto store_frames = [&](const T* from, i64 z_row_, i64 z_frame, i64 first_frame,
                                  i64 count) {
      i64 done = 0;
      if (carried.data)
        done = smaller(larger(carried.length - (first_frame + call.target_at.base), 0), count);
      if (done)
        store_rows(from, z_row_, z_frame, p.rows, panel_index * width, rows, call.target_at,
                   call.target, target, bias, carried, first_frame, done);
      if (done < count)
        store_rows(from + done * z_frame, z_row_, z_frame, p.rows, panel_index * width, rows,
                   call.target_at, call.target, target, bias, residual, first_frame + done,
                   count - done);
    };
    if (skip_absent) {
      const Block last{block.entry, block.group, block.first_frame + along_end, rest};
      sum_present(call, Block{block.entry, block.group, block.first_frame, along_end}, panel, rows,
                  z, z_row, 1);
      sum_present(call, last, panel, rows, z_rest, 1, width);
    }
    if (call.edges.sums) {
      const i64 channel = block.entry * call.groups * call.target_channels + first_channel;
      T* edges = call.edges.sums + (channel + panel_index * width) * call.edges.count;
      const Sums<T> parts[]{{z, z_row, 1, block.first_frame, along_end},
                            {z_rest, 1, width, block.first_frame + along_end, rest}};
      for (const Sums<T>& part : parts)
        if (call.edges.copies)
          add_edges(part, rows, edges, call.edges);
        else
          write_edges(part, rows, edges + part.first_frame - call.first_frame, call.edges.count);
      if (!call.edges.copies) continue;
    }
    store_frames(z, z_row, 1, block.first_frame, along_end);
    if (rest) store_frames(z_rest, 1, width, block.first_frame + along, rest);
  }
}

template <class S>
static void run_units(const Call<S>& call, i64 first_unit, i64 last_unit, Sum<S>* scratch) {
  if constexpr (multiplies_pairs && __is_same(S, bfloat16))
    if (call.product.pairs) return run_words<S, Pair>(call, first_unit, last_unit, scratch);
  run_words<S, Sum<S>>(call, first_unit, last_unit, scratch);
}
