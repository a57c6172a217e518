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
  const Signal<const T>& source = call.source;
  const T* group = source.data + block.entry * source.batch_stride +
                   block.group * call.source_channels * source.channel_stride;
  const Positions& at = call.source_at;
  const i64 back = call.separate_shifts ? 0 : window_back(p);
  const i64 reach = call.separate_shifts ? 0 : window_reach(p);
  for (const Segment& segment : p.segments) {
    const Axis& axis = segment.axis;
    const i64 rows = call.separate_shifts ? segment.shifts : 1;
    for (i64 u = 0; u < axis.channels * axis.phases; ++u) {
      const T* channel = group + (u / axis.phases) * source.channel_stride;
      const i64 base = (axis.first_phase + u % axis.phases) * at.phase_step + at.base;
      for (i64 j = 0; j < rows; ++j, packed += call.window)
        copy_row(channel, source.position_stride, source.length,
                 (block.first_frame - back) * at.frame + base + j * at.shift, at.frame,
                 block.frames + reach, call.window, call.extension, packed);
    }
  }
}

// The sums again, one by one, for frames where some term is absent: a weight that is not finite
// must not be multiplied by the zero that stands for a frame that does not exist.
template <class T>
static void sum_present(const Call<T>& call, const Block<T>& block, const T* panel, i64 rows, T* z,
                        i64 z_row) {
  const Product& p = call.product;
  const Signal<const T>& source = call.source;
  const T* group = source.data + block.entry * source.batch_stride +
                   block.group * call.source_channels * source.channel_stride;
  const Positions& at = call.source_at;
  for (i64 f = 0; f < block.frames; ++f)
    for (i64 r = 0; r < rows; ++r) {
      T total = 0;
      const T* w = panel + r;
      for (const Segment& segment : p.segments) {
        const Axis& axis = segment.axis;
        const i64 count = axis.channels * axis.phases;
        const i64 run = larger(1, run_steps / larger(segment.shifts, 1));
        for (i64 first = 0; first < count; first += run) {
          T acc = 0;
          for (i64 u = first; u < smaller(first + run, count); ++u) {
            const T* channel = group + (u / axis.phases) * source.channel_stride;
            i64 position = (block.first_frame + f) * at.frame + at.base +
                           (axis.first_phase + u % axis.phases) * at.phase_step;
            for (i64 j = 0; j < segment.shifts; ++j, position += at.shift, w += p.step_stride)
              if (position >= 0 && position < source.length)
                acc += *w * channel[position * source.position_stride];
          }
          total = total + acc;
        }
      }
      z[r * z_row + f] = total;
    }
}

// Whether every term of every row exists for all frames of the block.
template <class T>
static bool all_present(const Call<T>& call, const Block<T>& block) {
  const Positions& at = call.source_at;
  i64 low = 0, high = 0;
  bool any = false;
  for (const Segment& segment : call.product.segments) {
    if (segment.axis.channels == 0) continue;
    const i64 a = segment.axis.first_phase * at.phase_step;
    const i64 b = (segment.axis.first_phase + segment.axis.phases - 1) * at.phase_step;
    const i64 c = (segment.shifts - 1) * at.shift;
    const i64 l = a + smaller(c, 0), h = b + larger(c, 0);
    low = any ? smaller(low, l) : l;
    high = any ? larger(high, h) : h;
    any = true;
  }
  const i64 first = block.first_frame * at.frame + at.base;
  const i64 last = (block.first_frame + block.frames - 1) * at.frame + at.base;
  return first + low >= 0 && last + high < call.source.length;
}

template <class T>
static i64 scratch_elements(const Call<T>& call) {
  i64 rows = 0;
  for (const Segment& segment : call.product.segments)
    rows +=
        segment.axis.channels * segment.axis.phases * (call.separate_shifts ? segment.shifts : 1);
  constexpr i64 lanes = Vec<T>::lanes, width = panel_vectors * lanes;
  return rows * call.window + width * round_up(call.block_frames, lanes) + width * lanes;
}

template <class T>
static void run_units(const Call<T>& call, i64 first_unit, i64 last_unit, T* scratch) {
  constexpr int lanes = Vec<T>::lanes;
  constexpr i64 width = panel_vectors * lanes;
  const Product& p = call.product;
  const i64 all_rows = p.rows.channels * p.rows.phases;
  const i64 panels = (all_rows + width - 1) / width;
  const i64 z_row = round_up(call.block_frames, lanes);
  T* z = scratch;                 // Z[row][frame]
  T* z_rest = z + width * z_row;  // Z[frame][row] of the last few frames
  T* frames = z_rest + width * lanes;
  const i64 frame_shift = call.separate_shifts ? call.window : p.shift_frames;
  const T* frames_at_shift_0 = frames + (call.separate_shifts ? 0 : window_back(p));

  i64 packed_block = -1;
  for (i64 unit = first_unit; unit < last_unit; ++unit) {
    const i64 panel_index = unit % panels;
    const Block<T> block = block_of(call, unit / panels);
    if (unit / panels != packed_block) {
      packed_block = unit / panels;
      pack_block(call, block, frames);
    }
    const T* panel = call.packed + block.group * call.packed_group + p.packed_offset +
                     panel_index * p.panel_stride;
    const i64 rows = smaller(width, all_rows - panel_index * width);
    const i64 row_vectors = (rows + lanes - 1) / lanes;

    // Frames along the vector for whole vectors of frames; for the rest whichever costs less.
    i64 along = block.frames / lanes * lanes;
    if ((block.frames - along) * row_vectors > rows) along = round_up(block.frames, lanes);
    const i64 along_end = smaller(along, block.frames);
    const i64 rest = block.frames - along_end;

    const T* w = panel;
    bool first = true;
    i64 frame_base = 0;
    for (const Segment& segment : p.segments) {
      const i64 count = segment.axis.channels * segment.axis.phases;
      const i64 run = larger(1, run_steps / larger(segment.shifts, 1));
      const i64 frame_channel = call.separate_shifts ? segment.shifts * call.window : call.window;
      for (i64 u = 0; u < count; u += run) {
        const i64 channels = smaller(run, count - u);
        const T* x = frames_at_shift_0 + frame_base + u * frame_channel;
        const Strides<T> along_strides{frame_channel, frame_shift, segment.shifts * p.step_stride,
                                       p.step_stride};
        for (i64 f = 0; f < along; f += tile_vectors * lanes) {
          const i64 vectors = smaller(tile_vectors, (along - f) / lanes);
          for (i64 r = 0; r < rows; r += tile_rows)
            tiles<T>.by_size[smaller(tile_rows, rows - r) - 1][vectors - 1](
                x + f, w + r, along_strides, channels, segment.shifts, z + r * z_row + f, z_row,
                first);
        }
        const Strides<T> rest_strides{segment.shifts * p.step_stride, p.step_stride, frame_channel,
                                      frame_shift};
        for (i64 f = 0; f < rest; f += lane_frames)
          tiles<T>.by_size[smaller(lane_frames, rest - f) - 1][row_vectors - 1](
              w, x + along + f, rest_strides, channels, segment.shifts, z_rest + f * width, width,
              first);
        w += channels * segment.shifts * p.step_stride;
        first = false;
      }
      frame_base += count * frame_channel;
    }

    T* target = call.target.data + block.entry * call.target.batch_stride +
                block.group * call.target_channels * call.target.channel_stride;
    const T* bias = call.bias ? call.bias + block.group * call.target_channels : nullptr;
    if (call.skip_absent && !all_present(call, block)) {
      sum_present(call, block, panel, rows, z, z_row);
      store_rows(z, z_row, 1, p.rows, panel_index * width, rows, call.target_at, call.target,
                 target, bias, block.first_frame, block.frames);
      continue;
    }
    store_rows(z, z_row, 1, p.rows, panel_index * width, rows, call.target_at, call.target, target,
               bias, block.first_frame, along_end);
    if (rest)
      store_rows(z_rest, 1, width, p.rows, panel_index * width, rows, call.target_at, call.target,
                 target, bias, block.first_frame + along, rest);
  }
}
