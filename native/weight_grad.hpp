// The map R: the gradient of the weight, a sum over batch and time. Included inside the namespace
// of one instruction set.
//
//     gw[i, (c, phase + j*step)] = sum over (b, t) of  xe[b, i, t - j*shift] * gy[b, (c, phase), t]
//
// The same tile again: columns (c, phase) along the vector, input channels broadcast, frames summed
// in runs that begin anew with every batch entry. A unit is a block of rows (input channels), of
// column panels and of shifts.

template <class T>
static constexpr i64 grad_width() {
  return tile_vectors * Vec<T>::lanes;
}

// One run of frames of one unit.
template <class T>
struct GradRun {
  const T* x;   // channel 0 of the unit
  const T* gy;  // channel 0 of the group
  i64 first_frame, frames;
  i64 first_shift, shifts;
};

// Whether every frame and every sample that the run would multiply exists.
template <class T>
static bool inside(const WeightGradCall<T>& call, const GradRun<T>& run) {
  const Axis& axis = call.product.rows;
  const Positions& at = call.output_at;
  const i64 shift = -call.product.shift_frames;
  const i64 last = run.first_frame + run.frames - 1;
  const i64 last_phase = axis.first_phase + axis.phases - 1;
  const bool samples =
      run.first_frame * at.frame + axis.first_phase * at.phase_step + at.base >= 0 &&
      last * at.frame + last_phase * at.phase_step + at.base < call.grad_output.length;
  const bool frames = run.first_frame - (run.first_shift + run.shifts - 1) * shift >= 0 &&
                      last - run.first_shift * shift < call.input.length;
  return samples && (frames || call.extension != zeros);
}

// The sample of (column, frame), -1 where it does not exist; of a depthwise row (phase) likewise.
template <class T>
static inline i64 sample_of(const WeightGradCall<T>& call, i64 column, i64 t) {
  const Axis& axis = call.product.rows;
  const i64 n = t * call.output_at.frame +
                (axis.first_phase + column % axis.phases) * call.output_at.phase_step +
                call.output_at.base;
  return n < call.grad_output.length ? n : -1;
}

template <class T>
static inline bool frame_exists(const WeightGradCall<T>& call, i64 t) {
  return call.extension != zeros || (t >= 0 && t < call.input.length);
}

// Where packed frames of shift j of the run begin.
template <class T>
static inline i64 frames_of_shift(const WeightGradCall<T>& call, const GradRun<T>& run, i64 j,
                                  i64 separate_step) {
  return call.separate_shifts ? j * separate_step
                              : (run.shifts - 1 - j) * -call.product.shift_frames;
}

// rows[tile][frame][row in tile] from frame `first` on; `scratch` holds tile_rows signals.
template <class T>
static void pack_rows(const WeightGradCall<T>& call, const T* x, i64 count, i64 first, i64 frames,
                      i64 padded, T* scratch, T* rows) {
  typedef typename Vec<T>::type V;
  constexpr int lanes = Vec<T>::lanes;
  const Signal<const T>& input = call.input;
  const bool in_place = input.position_stride == 1 && first >= 0 && first + padded <= input.length;
  for (i64 i = 0; i < count; i += tile_rows, rows += padded * tile_rows) {
    const T* from[tile_rows];
    for (i64 r = 0; r < tile_rows; ++r) {
      // The rows that fill up the last tile repeat its last channel; nobody reads their sums.
      const T* channel = x + smaller(i + r, count - 1) * input.channel_stride;
      from[r] = in_place ? channel + first : scratch + r * padded;
      if (!in_place)
        copy_row(channel, input.position_stride, input.length, first, 1, frames, padded,
                 call.extension, scratch + r * padded);
    }
    for (i64 f = 0; f < padded; f += lanes) {
      V r[tile_rows];
#pragma GCC unroll 8
      for (int p = 0; p < tile_rows; ++p) r[p] = load(from[p] + f);
      interleave<T, tile_rows>(r);
#pragma GCC unroll 8
      for (int p = 0; p < tile_rows; ++p) store(rows + f * tile_rows + p * lanes, r[p]);
    }
  }
}

// Frames [low, high) of a run of which every one of `phases` phases from `phase` on is a sample.
template <class T>
static Shifts frames_with_samples(const WeightGradCall<T>& call, i64 start, i64 phases,
                                  i64 frames) {
  const Positions& at = call.output_at;
  const i64 last = call.grad_output.length - 1 - start - (phases - 1) * at.phase_step;
  const i64 low = smaller(larger(ceil_div(-start, at.frame), 0), frames);
  return {low, smaller(larger(floor_div(last, at.frame) + 1, low), frames)};
}

// Signals of `T`, one per column, for as many columns as a vector has elements:
// to[f * to_step + column] = from[column * channel_step + f], whole squares of them. Returns how
// many frames that were.
template <class T>
static i64 transpose_frames(const T* from, i64 channel_step, i64 frames, T* to, i64 to_step) {
  typedef typename Vec<T>::type V;
  constexpr i64 lanes = Vec<T>::lanes;
  i64 f = 0;
  for (; f + lanes <= frames; f += lanes) {
    V r[lanes];
#pragma GCC unroll 16
    for (int c = 0; c < lanes; ++c) r[c] = load(from + c * channel_step + f);
    transpose<T>(r);
#pragma GCC unroll 16
    for (int c = 0; c < lanes; ++c) store(to + (f + c) * to_step, r[c]);
  }
  return f;
}

// Two floats side by side are moved like one double.
template <class T>
static i64 transpose_phases(const T* from, i64 channel_step, i64 phases, i64 frames, T* to,
                            i64 to_step) {
  if (phases == 1) return transpose_frames(from, channel_step, frames, to, to_step);
  if constexpr (sizeof(T) == 4)
    if (phases == 2 && channel_step % 2 == 0 && to_step % 2 == 0)
      return transpose_frames(reinterpret_cast<const double*>(from), channel_step / 2, frames,
                              reinterpret_cast<double*>(to), to_step / 2);
  return 0;
}

// columns[frame][column]: samples of the output's gradient, phases side by side, 0 where there is
// none.
template <class T>
static void pack_columns(const WeightGradCall<T>& call, const GradRun<T>& run, i64 first, i64 count,
                         T* columns) {
  constexpr i64 width = grad_width<T>(), lanes = Vec<T>::lanes;
  const Axis& axis = call.product.rows;
  const Signal<const T>& gy = call.grad_output;
  const Positions& at = call.output_at;
  const bool neighbours = at.phase_step * gy.position_stride == 1 || axis.phases == 1;
  const bool gapless = neighbours && at.frame * gy.position_stride == axis.phases;
  for (i64 col = 0; col < count;) {
    const i64 channel = (first + col) / axis.phases, phase = (first + col) % axis.phases;
    const i64 phases = smaller(axis.phases - phase, count - col);
    i64 channels = phases == axis.phases ? (count - col) / phases : 1;
    const T* from = run.gy + channel * gy.channel_stride;
    T* to = columns + col;
    const i64 start =
        run.first_frame * at.frame + (axis.first_phase + phase) * at.phase_step + at.base;
    const Shifts whole =
        neighbours ? frames_with_samples(call, start, phases, run.frames) : Shifts{0, 0};
    const T* at_low = from + (start + whole.first * at.frame) * gy.position_stride;
    T* to_low = to + whole.first * width;
    i64 done = whole.first;
    if (whole.first < whole.last) {
      const i64 frames = whole.last - whole.first;
      if (gapless && phases * channels >= lanes && lanes % phases == 0) {
        const i64 moved =
            transpose_phases(at_low, gy.channel_stride, phases, frames, to_low, width);
        if (moved) channels = lanes / phases;
        done += moved;
      }
      const i64 moved = done - whole.first;
      copy_pieces(phases, at_low + moved * at.frame * gy.position_stride, to_low + moved * width,
                  {{1, 0, 0},
                   {channels, gy.channel_stride, phases},
                   {frames - moved, at.frame * gy.position_stride, width}});
      done = whole.last;
    }
    const auto one_by_one = [&](i64 low, i64 high) {
      for (i64 f = low; f < high; ++f)
        for (i64 c = 0; c < channels; ++c)
          for (i64 q = 0; q < phases; ++q) {
            const i64 n = start + f * at.frame + q * at.phase_step;
            to[f * width + c * phases + q] =
                n >= 0 && n < gy.length ? from[c * gy.channel_stride + n * gy.position_stride]
                                        : T(0);
          }
    };
    one_by_one(0, whole.first);
    one_by_one(done, run.frames);
    col += channels * phases;
  }
  if (count % lanes)
    for (i64 f = 0; f < run.frames; ++f)
      for (i64 col = count; col < round_up(count, lanes); ++col) columns[f * width + col] = T(0);
}

// The runs that have frames of the signal in them for some shift of the unit; the others would add
// zeros, which changes no bit.
template <class T>
static Shifts runs_onto(const WeightGradCall<T>& call, i64 first_shift, i64 shifts) {
  const i64 runs = (call.frames + call.run_frames - 1) / call.run_frames;
  if (call.extension != zeros) return {0, runs};
  const i64 shift = -call.product.shift_frames;
  const i64 first = first_shift * shift - call.first_frame;
  const i64 last = (first_shift + shifts - 1) * shift + call.input.length - 1 - call.first_frame;
  const i64 from = larger(floor_div(first, call.run_frames), 0);
  return {from, larger(from, smaller(floor_div(last, call.run_frames) + 1, runs))};
}

template <class T>
static bool reaches_signal(const WeightGradCall<T>& call, const GradRun<T>& run, i64 shift) {
  if (call.extension != zeros) return true;
  const i64 first = run.first_frame + shift * call.product.shift_frames;
  return first < call.input.length && first + run.frames > 0;
}

// One run, one by one, where a value that is not finite meets one that does not exist.
template <class T>
static void add_present(const WeightGradCall<T>& call, const GradRun<T>& run, const T* rows,
                        i64 row_count, i64 tile_stride, i64 shift, const T* columns,
                        i64 first_column, i64 column_count, T* z, i64 z_stride, bool is_first) {
  constexpr i64 width = grad_width<T>();
  for (i64 i = 0; i < row_count; ++i)
    for (i64 col = 0; col < column_count; ++col) {
      const T* x = rows + (i / tile_rows) * tile_stride + i % tile_rows;
      T acc = 0;
      for (i64 f = 0; f < run.frames; ++f) {
        const i64 t = run.first_frame + f;
        if (sample_of(call, first_column + col, t) >= 0 &&
            frame_exists(call, t + shift * call.product.shift_frames))
          acc += x[f * tile_rows] * columns[f * width + col];
      }
      T& sum = z[i * z_stride + col];
      sum = (is_first ? T(0) : sum) + acc;
    }
}

template <class T>
static i64 weight_grad_scratch(const WeightGradCall<T>& call) {
  const i64 rows = round_up(call.row_block, tile_rows);
  const i64 signals = call.separate_shifts ? call.shift_block : 1;
  if (call.depthwise)
    return 2 * call.window * (call.separate_shifts ? call.shift_block : 1) +
           call.product.rows.phases * call.shift_block;
  return call.shift_block * call.column_block * rows * grad_width<T>() +
         call.run_frames * grad_width<T>() + (rows * signals + tile_rows) * call.window;
}

template <class T>
struct GradUnit {
  i64 group, first_row, rows, first_panel, panels, first_shift, shifts;
};

template <class T>
static GradUnit<T> grad_unit(const WeightGradCall<T>& call, i64 unit) {
  const i64 all_columns = call.product.rows.channels * call.product.rows.phases;
  const i64 all_panels = (all_columns + grad_width<T>() - 1) / grad_width<T>();
  GradUnit<T> u;
  const i64 shift_block = unit % call.shift_blocks;
  unit /= call.shift_blocks;
  const i64 column_block = unit % call.column_blocks;
  unit /= call.column_blocks;
  u.group = unit / call.row_blocks;
  u.first_row = unit % call.row_blocks * call.row_block;
  u.rows = smaller(call.row_block, call.in_channels - u.first_row);
  u.first_panel = column_block * call.column_block;
  u.panels = smaller(call.column_block, all_panels - u.first_panel);
  u.first_shift = shift_block * call.shift_block;
  u.shifts = smaller(call.shift_block, call.product.segments[0].shifts - u.first_shift);
  return u;
}

template <class T>
static void weight_grad_unit(const WeightGradCall<T>& call, const GradUnit<T>& u, T* scratch) {
  constexpr i64 width = grad_width<T>();
  const Axis& axis = call.product.rows;
  const i64 all_columns = axis.channels * axis.phases;
  const i64 row_tiles = (u.rows + tile_rows - 1) / tile_rows;
  const i64 z_panel = round_up(call.row_block, tile_rows) * width;
  const i64 tile_stride = call.window * tile_rows, shift_stride = row_tiles * tile_stride;
  T* z = scratch;
  T* columns = z + call.shift_block * call.column_block * z_panel;
  T* signals = columns + call.run_frames * width;
  T* rows = signals + tile_rows * call.window;

  const Signal<const T>&x = call.input, &gy = call.grad_output;
  const i64 out_row = call.out_channels * call.kernel;
  T* out = call.grad_weight + (u.group * call.in_channels + u.first_row) * out_row;
  // The sums of a panel and a shift. Where a column is a tap of its own, they can be added up in
  // the result itself.
  struct Sums {
    T* at;
    i64 row;
    bool in_place;
  };
  const auto sums_of = [&](i64 panel, i64 j) {
    const i64 column = (u.first_panel + panel) * width;
    if (call.column_is_tap && smaller(width, all_columns - column) % Vec<T>::lanes == 0)
      return Sums{out + column, out_row, true};
    return Sums{z + (j * call.column_block + panel) * z_panel, width, false};
  };

  bool begun[most_shift_block] = {};
  const Shifts onto = runs_onto(call, u.first_shift, u.shifts);
  for (i64 b = 0; b < call.batch; ++b)
    for (i64 index = onto.first; index < onto.last; ++index) {
      const i64 begin = index * call.run_frames;
      const GradRun<T> run{
          x.data + b * x.batch_stride +
              (u.group * call.in_channels + u.first_row) * x.channel_stride,
          gy.data + b * gy.batch_stride + u.group * call.out_channels * gy.channel_stride,
          call.first_frame + begin,
          smaller(call.run_frames, call.frames - begin),
          u.first_shift,
          u.shifts};
      const bool is_inside = inside(call, run);
      const i64 packs = call.separate_shifts ? u.shifts : 1;
      const i64 reach = call.separate_shifts ? 0 : -(u.shifts - 1) * call.product.shift_frames;
      for (i64 j = 0; j < packs; ++j)
        pack_rows(call, run.x, u.rows,
                  run.first_frame + (u.first_shift + j) * call.product.shift_frames - reach,
                  run.frames + reach, call.window, signals, rows + j * shift_stride);
      const bool finite_rows = is_inside || all_finite(rows, packs * shift_stride);
      for (i64 panel = 0; panel < u.panels; ++panel) {
        const i64 column = (u.first_panel + panel) * width;
        const i64 count = smaller(width, all_columns - column);
        const i64 vectors = (count + Vec<T>::lanes - 1) / Vec<T>::lanes;
        pack_columns(call, run, column, count, columns);
        bool finite = finite_rows;
        if (!is_inside && vectors == tile_vectors)
          finite = finite && all_finite(columns, run.frames * width);
        else
          for (i64 f = 0; f < run.frames && finite && !is_inside; ++f)
            finite = all_finite(columns + f * width, count);
        for (i64 j = 0; j < u.shifts; ++j) {
          if (!reaches_signal(call, run, u.first_shift + j)) continue;
          const Sums sums = sums_of(panel, j);
          const T* frames =
              rows + (call.separate_shifts ? j * shift_stride
                                           : frames_of_shift(call, run, j, 0) * tile_rows);
          if (!finite) {
            add_present(call, run, frames, u.rows, tile_stride, u.first_shift + j, columns, column,
                        count, sums.at, sums.row, !begun[j]);
            continue;
          }
          const Strides<T> strides{width, 0, tile_rows, 0};
          for (i64 i = 0; i < row_tiles; ++i)
            tiles<T, false>.by_size[smaller(tile_rows, u.rows - i * tile_rows) - 1][vectors - 1](
                columns, frames + i * tile_stride, strides, run.frames, 1,
                sums.at + i * tile_rows * sums.row, sums.row, !begun[j]);
        }
      }
      for (i64 j = 0; j < u.shifts; ++j)
        begun[j] = begun[j] || reaches_signal(call, run, u.first_shift + j);
    }

  for (i64 panel = 0; panel < u.panels; ++panel) {
    const i64 column = (u.first_panel + panel) * width;
    const i64 count = smaller(width, all_columns - column);
    for (i64 j = 0; j < u.shifts; ++j) {
      const Sums sums = sums_of(panel, j);
      if (!begun[j])
        for (i64 i = 0; i < u.rows; ++i)
          for (i64 col = 0; col < count; ++col) sums.at[i * sums.row + col] = T(0);
    }
    if (sums_of(panel, 0).in_place) continue;
    for (i64 col = 0; col < count;) {
      const i64 channel = (column + col) / axis.phases, phase = (column + col) % axis.phases;
      const i64 phases = smaller(axis.phases - phase, count - col);
      const i64 channels = phases == axis.phases ? (count - col) / phases : 1;
      copy_pieces(phases, z + panel * z_panel + col,
                  out + channel * call.kernel + axis.first_phase + phase +
                      u.first_shift * call.product.weight_shift,
                  {{u.rows, width, out_row},
                   {u.shifts, call.column_block * z_panel, call.product.weight_shift},
                   {channels, phases, call.kernel}});
      col += channels * phases;
    }
  }
}

// One channel in, one out: no channels to put along the vector, so time goes there, and each run
// ends in a sum over lanes.
template <class T>
static void depthwise_unit(const WeightGradCall<T>& call, const GradUnit<T>& u, T* scratch) {
  typedef typename Vec<T>::type V;
  constexpr i64 lanes = Vec<T>::lanes;
  const Axis& axis = call.product.rows;
  const Signal<const T>&x = call.input, &gy = call.grad_output;
  T* z = scratch;
  T* samples = z + axis.phases * call.shift_block;
  T* frames = samples + call.window;
  for (T* p = z; p < samples; ++p) *p = T(0);
  const Shifts onto = runs_onto(call, u.first_shift, u.shifts);
  for (i64 b = 0; b < call.batch; ++b)
    for (i64 index = onto.first; index < onto.last; ++index) {
      const i64 begin = index * call.run_frames;
      const GradRun<T> run{x.data + b * x.batch_stride + u.group * x.channel_stride,
                           gy.data + b * gy.batch_stride + u.group * gy.channel_stride,
                           call.first_frame + begin,
                           smaller(call.run_frames, call.frames - begin),
                           u.first_shift,
                           u.shifts};
      const i64 whole = round_up(run.frames, lanes);
      const i64 packs = call.separate_shifts ? u.shifts : 1;
      const i64 reach = call.separate_shifts ? 0 : -(u.shifts - 1) * call.product.shift_frames;
      for (i64 j = 0; j < packs; ++j)
        copy_row(run.x, x.position_stride, x.length,
                 run.first_frame + (u.first_shift + j) * call.product.shift_frames - reach, 1,
                 run.frames + reach, call.window, call.extension, frames + j * call.window);
      // A last vector that is not full multiplies frames by zeros, which is harmless where all are
      // finite.
      const bool is_inside = inside(call, run) && whole == run.frames;
      const bool finite_frames = is_inside || all_finite(frames, packs * call.window);
      for (i64 row = 0; row < axis.phases; ++row) {
        const Positions& at = call.output_at;
        copy_row(run.gy, gy.position_stride, gy.length,
                 run.first_frame * at.frame + (axis.first_phase + row) * at.phase_step + at.base,
                 at.frame, run.frames, whole, zeros, samples);
        const bool finite = finite_frames && (is_inside || all_finite(samples, whole));
        for (i64 j = 0; j < u.shifts; ++j) {
          if (!reaches_signal(call, run, u.first_shift + j)) continue;
          const T* xj = frames + frames_of_shift(call, run, j, call.window);
          T sums[2 * lanes] = {};
          if (finite) {
            V both[2] = {};
            for (i64 f = 0; f < whole; f += lanes)
              both[f / lanes % 2] += load(xj + f) * load(samples + f);
            store(sums, both[0]);
            store(sums + lanes, both[1]);
          } else {
            for (i64 f = 0; f < run.frames; ++f) {
              const i64 t = run.first_frame + f;
              if (sample_of(call, row, t) >= 0 &&
                  frame_exists(call, t + (u.first_shift + j) * call.product.shift_frames))
                sums[f % (2 * lanes)] += xj[f] * samples[f];
            }
          }
          T acc = 0;
          for (i64 lane = 0; lane < lanes; ++lane) acc += sums[lane] + sums[lane + lanes];
          z[row * call.shift_block + j] += acc;
        }
      }
    }
  T* taps = call.grad_weight + u.group * call.kernel + axis.first_phase;
  for (i64 row = 0; row < axis.phases; ++row)
    for (i64 j = 0; j < u.shifts; ++j)
      taps[row + (u.first_shift + j) * call.product.weight_shift] = z[row * call.shift_block + j];
}

template <class T>
static void weight_grad_units(const WeightGradCall<T>& call, i64 first, i64 last, T* scratch) {
  for (i64 unit = first; unit < last; ++unit)
    (call.depthwise ? depthwise_unit<T> : weight_grad_unit<T>)(call, grad_unit(call, unit),
                                                               scratch);
}
