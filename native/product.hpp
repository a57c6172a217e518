// The maps T and C: weight panels times packed frames, unit by unit. Included inside the namespace
// of one instruction set.
//
// A unit is one panel of one block of frames of one group of one batch entry; the panels of a block
// are consecutive units, so that a thread packs each of its blocks once.

template <class T>
struct Block {
  i64 entry, group, first_frame, frames;
};

template <class T>
static Block<T> block_of(const Call<T>& call, i64 index) {
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

template <class T>
static void pack_block(const Call<T>& call, const Block<T>& block, T* packed) {
  const Product& p = call.product;
  const Positions& at = call.source_at;
  const i64 back = call.separate_shifts ? 0 : window_back(p);
  const i64 reach = call.separate_shifts ? 0 : window_reach(p);
  for (const Segment& segment : p.segments) {
    const Axis& axis = segment.axis;
    const i64 rows = call.separate_shifts ? segment.shifts : 1;
    for (i64 u = 0; u < axis.channels * axis.phases; ++u) {
      const Row<T> channel = row_of(call.source, call.carried, block.entry,
                                    block.group * call.source_channels + u / axis.phases);
      const i64 base = (axis.first_phase + u % axis.phases) * at.phase_step + at.base;
      for (i64 j = 0; j < rows; ++j, packed += call.window) {
        copy_row(channel, call.source.length,
                 (block.first_frame - back) * at.frame + base + j * at.shift, at.frame,
                 block.frames + reach, call.window, call.extension, packed);
        if (call.around.negative_slope != 1)
          bend(packed, block.frames + reach, call.around.negative_slope);
      }
    }
  }
}

// How the terms of a segment are cut into runs: by channels, and where a channel has more shifts
// than a run has terms, by shifts too.
struct Runs {
  i64 all_channels, channels, shifts;

  explicit Runs(const Segment& segment)
      : all_channels(segment.axis.channels * segment.axis.phases),
        channels(larger(1, run_steps / larger(segment.shifts, 1))),
        shifts(smaller(segment.shifts, run_steps)) {}
};

// The least and greatest positions that shift 0 takes frames [first, first + count) to.
struct Bounds {
  i64 low, high;
};

template <class T>
static Bounds bounds(const Call<T>& call, i64 first, i64 count) {
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
template <class T>
static bool all_present(const Call<T>& call, i64 first, i64 count) {
  const Bounds b = bounds(call, first, count);
  const i64 reach = (call.product.segments[0].shifts - 1) * call.source_at.shift;
  return b.low + smaller(reach, 0) >= 0 && b.high + larger(reach, 0) < call.source.length;
}

// Shifts [first, last) are all that bring some of these frames onto the signal. The others would
// add zeros, which changes no bit.
struct Shifts {
  i64 first, last;
};

template <class T>
static Shifts shifts_onto(const Call<T>& call, i64 first, i64 count) {
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

// The sums again, one by one, for frames where some term is absent: a weight that is not finite
// must not be multiplied by the zero that stands for a frame that does not exist.
template <class T>
static void sum_present(const Call<T>& call, const Block<T>& block, const T* panel, i64 rows, T* z,
                        i64 z_row, i64 z_frame) {
  const Product& p = call.product;
  const Positions& at = call.source_at;
  for (i64 f = 0; f < block.frames; ++f) {
    if (all_present(call, block.first_frame + f, 1)) continue;
    for (i64 r = 0; r < rows; ++r) {
      T total = 0;
      const T* w = panel + r;
      for (const Segment& segment : p.segments) {
        const Axis& axis = segment.axis;
        const Runs runs(segment);
        for (i64 first = 0; first < runs.all_channels; first += runs.channels)
          for (i64 j0 = 0; j0 < segment.shifts; j0 += runs.shifts) {
            T acc = 0;
            for (i64 u = first; u < smaller(first + runs.channels, runs.all_channels); ++u) {
              const Row<T> channel = row_of(call.source, call.carried, block.entry,
                                            block.group * call.source_channels + u / axis.phases);
              const i64 position = (block.first_frame + f) * at.frame + at.base +
                                   (axis.first_phase + u % axis.phases) * at.phase_step;
              for (i64 j = j0; j < smaller(j0 + runs.shifts, segment.shifts); ++j) {
                const i64 n = position + j * at.shift;
                if (n >= 0 && n < call.source.length)
                  acc += w[(u * segment.shifts + j) * p.step_stride] *
                         bent(channel.at(n), call.around.negative_slope);
              }
            }
            total = total + acc;
          }
        w += runs.all_channels * segment.shifts * p.step_stride;
      }
      z[r * z_row + f * z_frame] = total;
    }
  }
}

template <class T>
static i64 scratch_elements(const Call<T>& call) {
  i64 rows = 0;
  for (const Segment& segment : call.product.segments)
    rows +=
        segment.axis.channels * segment.axis.phases * (call.separate_shifts ? segment.shifts : 1);
  constexpr i64 lanes = Vec<T>::lanes, width = panel_vectors * lanes;
  const i64 panel = call.packed ? 0 : call.product.panel_stride;
  return panel + rows * call.window + width * round_up(call.block_frames, lanes) + width * lanes;
}

template <class T>
static void run_units(const Call<T>& call, i64 first_unit, i64 last_unit, T* scratch) {
  constexpr int lanes = Vec<T>::lanes;
  constexpr i64 width = panel_vectors * lanes;
  const Product& p = call.product;
  const i64 all_rows = p.rows.channels * p.rows.phases;
  const i64 panels = (all_rows + width - 1) / width;
  const i64 z_row = round_up(call.block_frames, lanes);
  T* own_panel = scratch;                                 // where nothing is packed
  T* z = own_panel + (call.packed ? 0 : p.panel_stride);  // Z[row][frame]
  T* z_rest = z + width * z_row;                          // Z[frame][row] of the last few frames
  T* frames = z_rest + width * lanes;
  const i64 frame_shift = call.separate_shifts ? call.window : p.shift_frames;
  const T* frames_at_shift_0 = frames + (call.separate_shifts ? 0 : window_back(p));

  i64 packed_block = -1;
  for (i64 unit = first_unit; unit < last_unit; ++unit) {
    const i64 panel_index = unit % panels;
    const Block<T> block = block_of(call, unit / panels);
    const bool complete = all_present(call, block.first_frame, block.frames);
    const bool in_place =
        call.in_place && complete && block.first_frame - window_back(p) >= call.carried.length;
    if (!in_place && unit / panels != packed_block) {
      packed_block = unit / panels;
      pack_block(call, block, frames);
    }
    const Signal<const T>& source = call.source;
    const T* at_shift_0 = in_place
                              ? source.data + block.entry * source.batch_stride +
                                    block.group * call.source_channels * source.channel_stride +
                                    block.first_frame
                              : frames_at_shift_0;
    const i64 window = in_place ? source.channel_stride : call.window;
    const T* panel = own_panel;
    if (call.packed)
      panel = call.packed + block.group * call.packed_group + p.packed_offset +
              panel_index * p.panel_stride;
    else
      pack_panel(p, call.weight + block.group * call.weight_group, panel_index, own_panel);
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
    const T* w = panel;
    bool first = true;
    i64 frame_base = 0;
    for (const Segment& segment : p.segments) {
      const Runs runs(segment);
      const i64 frame_channel = call.separate_shifts ? segment.shifts * window : window;
      const i64 w_channel = segment.shifts * p.step_stride;
      const Strides<T> along_strides{frame_channel, frame_shift, w_channel, p.step_stride};
      const Strides<T> rest_strides{w_channel, p.step_stride, frame_channel, frame_shift};
      const bool several_runs = block.frames == 1 && rest == 1 && of_rest.first == 0 &&
                                of_rest.last == segment.shifts && runs.shifts == segment.shifts;
      for (i64 u = 0; u < runs.all_channels; u += runs.channels) {
        if (several_runs && u + runs_at_once * runs.channels <= runs.all_channels) {
          const T* x = at_shift_0 + frame_base + u * frame_channel;
          (row_vectors == 1 ? tile_runs<T, 1>
                            : tile_runs<T, panel_vectors>)(w + u * w_channel, x, rest_strides,
                                                           runs.channels, segment.shifts, z_rest,
                                                           first);
          first = false;
          u += (runs_at_once - 1) * runs.channels;
          continue;
        }
        for (i64 j0 = 0; j0 < segment.shifts; j0 += runs.shifts) {
          const i64 channels = smaller(runs.channels, runs.all_channels - u);
          const i64 j1 = smaller(j0 + runs.shifts, segment.shifts);
          const T* x = at_shift_0 + frame_base + u * frame_channel;
          const T* wu = w + u * w_channel;
          for (i64 f = 0; f < along; f += tile_vectors * lanes) {
            const i64 vectors = smaller(tile_vectors, (along - f) / lanes);
            const Shifts onto = complete ? all
                                         : shifts_onto(call, block.first_frame + f,
                                                       smaller(vectors * lanes, block.frames - f));
            const i64 from = larger(j0, onto.first), to = smaller(j1, onto.last);
            if (from >= to && !first) continue;
            for (i64 r = 0; r < rows; r += tile_rows)
              tiles<T, true>.by_size[smaller(tile_rows, rows - r) - 1][vectors - 1](
                  x + from * frame_shift + f, wu + from * p.step_stride + r, along_strides,
                  channels, larger(to - from, 0), z + r * z_row + f, z_row, first);
          }
          const i64 from = larger(j0, of_rest.first), to = smaller(j1, of_rest.last);
          for (i64 f = 0; f < rest; f += lane_frames)
            tiles<T, false>.by_size[smaller(lane_frames, rest - f) - 1][row_vectors - 1](
                wu + from * p.step_stride, x + from * frame_shift + along + f, rest_strides,
                channels, larger(to - from, 0), z_rest + f * width, width, first);
          first = false;
        }
      }
      w += runs.all_channels * w_channel;
      frame_base += runs.all_channels * frame_channel;
    }

    T* target = call.target.data + block.entry * call.target.batch_stride +
                block.group * call.target_channels * call.target.channel_stride;
    const T* bias = call.bias ? call.bias + block.group * call.target_channels : nullptr;
    const i64 first_channel = block.group * call.target_channels;
    Signal<const T> residual = call.around.residual;
    if (residual.data)
      residual.data +=
          block.entry * residual.batch_stride + first_channel * residual.channel_stride;
    const Carried<T>& early = call.around.residual_carried;
    Signal<const T> carried{early.data, early.batch_stride, early.channel_stride,
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
    if (call.skip_absent && !complete && (call.packed || !all_finite(panel, p.panel_stride))) {
      const Block<T> last{block.entry, block.group, block.first_frame + along_end, rest};
      sum_present(call, Block<T>{block.entry, block.group, block.first_frame, along_end}, panel,
                  rows, z, z_row, 1);
      sum_present(call, last, panel, rows, z_rest, 1, width);
    }
    store_frames(z, z_row, 1, block.first_frame, along_end);
    if (rest) store_frames(z_rest, 1, width, block.first_frame + along, rest);
  }
}
