// The map R: the gradient of the weight, a sum over batch and time. Included inside the namespace
// of one instruction set.
//
//     gw[i, (c, phase + j*step)] = sum over (b, t) of  xe[b, i, t - j*shift] * gy[b, (c, phase), t]
//
// The same tile again: columns (c, phase) along the vector, input channels broadcast, frames summed
// in runs that begin anew with every batch entry. A unit is a block of rows (input channels), of
// column panels and of shifts. Where words are pairs, they are of frames 0 and 1, 2 and 3, ... of a
// run; the frames of an odd shift are packed a second time, from the second one on.

template <class T>
static constexpr i64 grad_width() {
  return tile_vectors * Vec<T>::lanes;
}

// Frames of a run in one word.
template <class W>
static constexpr i64 frames_per_word = is_pair<W> ? 2 : 1;

// One run of frames of one unit.
template <class S>
struct GradRun {
  const S* x;   // channel 0 of the unit
  const S* gy;  // channel 0 of the group
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

// Where the frames of the run's shifts are packed, in words of `channels` rows each: those of one
// shift or of all, and of pairs those that begin with an even and those that begin with an odd
// frame.
template <class S, class W>
struct PackedFrames {
  i64 packs, alignments, words;  // how many of each; words of one row
  i64 channels;
  bool separate;
  i64 shifts, shift;

  PackedFrames(const WeightGradCall<S>& call, i64 unit_shifts, i64 rows)
      : packs(call.separate_shifts ? unit_shifts : 1),
        alignments(is_pair<W> && !call.separate_shifts && unit_shifts > 1 &&
                           call.product.shift_frames % 2
                       ? 2
                       : 1),
        words(call.window / frames_per_word<W>),
        channels(rows),
        separate(call.separate_shifts),
        shifts(unit_shifts),
        shift(-call.product.shift_frames) {}

  i64 all() const { return packs * alignments * words * channels; }
  i64 at(i64 pack, i64 alignment) const {
    return (pack * alignments + alignment) * words * channels;
  }
  // Word of row 0 of the unit, from which shift j of the run has its frames. `row_words` is what
  // lies between one word of a row and the next.
  i64 of_shift(i64 j, i64 row_words) const {
    if (separate) return at(j, 0);
    const i64 frame = (shifts - 1 - j) * shift;
    return at(0, is_pair<W> ? frame % 2 : 0) + frame / frames_per_word<W> * row_words;
  }
};

// What the signals of a run are copied to first where they cannot be read in place.
template <class S, class W>
struct Signals {
  typedef Sum<S> type;
  typedef Widened<S> Into;
};
template <class S>
struct Signals<S, Pair> {
  typedef S type;
  typedef Kept<S> Into;
};

// rows[tile][word][row in tile] of `padded` words of frames, from signals of tile_rows channels.
template <class X, class W>
static void interleave_rows(const X* const* from, i64 padded, W* rows) {
  typedef typename SumOf<W>::type T;
  constexpr i64 lanes = Vec<W>::lanes;
  for (i64 f = 0; f < padded; f += lanes) {
    typename Vec<T>::type r[tile_rows];
#pragma GCC unroll 8
    for (int p = 0; p < tile_rows; ++p)
      if constexpr (is_pair<W>)
        r[p] = reinterpret_cast<typename Vec<T>::type>(
            load(reinterpret_cast<const Pair*>(from[p]) + f));
      else
        r[p] = load(from[p] + f);
    interleave<T, tile_rows>(r);
#pragma GCC unroll 8
    for (int p = 0; p < tile_rows; ++p)
      store(reinterpret_cast<T*>(rows) + f * tile_rows + p * lanes, r[p]);
  }
}

// Frames from `first` on; `scratch` holds tile_rows signals of window + one vector of frames.
template <class S, class W>
static void pack_rows(const WeightGradCall<S>& call, const PackedFrames<S, W>& packed, const S* x,
                      i64 count, i64 first, i64 frames, Sum<S>* scratch, W* rows) {
  // Signals as they are read: pairs as they are stored, others as they are computed with.
  typedef typename Signals<S, W>::type X;
  const Signal<const S>& input = call.input;
  const i64 padded = call.window, reach = padded + packed.alignments - 1;
  const bool in_place = input.position_stride == 1 && first >= 0 && first + reach <= input.length;
  X* signals = reinterpret_cast<X*>(scratch);
  for (i64 i = 0; i < count; i += tile_rows, rows += packed.words * tile_rows) {
    // The rows that fill up the last tile repeat its last channel; nobody reads their sums.
    const auto channel = [&](i64 r) {
      return x + smaller(i + r, count - 1) * input.channel_stride;
    };
    for (i64 alignment = 0; alignment < packed.alignments; ++alignment) {
      W* to = rows + packed.at(0, alignment);
      if (in_place) {
        const S* from[tile_rows];
        for (i64 r = 0; r < tile_rows; ++r) from[r] = channel(r) + first + alignment;
        interleave_rows(from, packed.words, to);
        continue;
      }
      const X* from[tile_rows];
      for (i64 r = 0; r < tile_rows; ++r) {
        X* signal = signals + r * (padded + Vec<S>::lanes);
        if (alignment == 0)
          copy_row<typename Signals<S, W>::Into>(
              Row<S>{channel(r), input.position_stride, nullptr, 0, 0}, input.length, first, 1,
              frames, padded + 1, call.extension, signal);
        from[r] = signal + alignment;
      }
      interleave_rows(from, packed.words, to);
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

// Signals, one per column or two neighbouring ones (`T` is what holds a frame of them), for as many
// columns as a vector has elements: to[f * to_step + column] is frame f of signal `column`, in
// whole squares. Returns how many frames that were.
template <class T, class S>
static i64 transpose_frames(const S* from, i64 channel_step, i64 frames, Sum<S>* to, i64 to_step) {
  typedef typename Vec<T>::type V;
  constexpr i64 lanes = Vec<T>::lanes, phases = sizeof(T) / sizeof(Sum<S>);
  i64 f = 0;
  for (; f + lanes <= frames; f += lanes) {
    V r[lanes];
#pragma GCC unroll 16
    for (int c = 0; c < lanes; ++c)
      r[c] = reinterpret_cast<V>(load(from + c * channel_step + f * phases));
    transpose<T>(r);
#pragma GCC unroll 16
    for (int c = 0; c < lanes; ++c) store(reinterpret_cast<T*>(to + (f + c) * to_step), r[c]);
  }
  return f;
}

template <class S>
static i64 transpose_phases(const S* from, i64 channel_step, i64 phases, i64 frames, Sum<S>* to,
                            i64 to_step) {
  if (phases == 1) return transpose_frames<Sum<S>>(from, channel_step, frames, to, to_step);
  if constexpr (sizeof(Sum<S>) == 4)
    if (phases == 2) return transpose_frames<double>(from, channel_step, frames, to, to_step);
  return 0;
}

// columns[frame][column]: samples of the output's gradient, phases side by side, 0 where there is
// none.
template <class S>
static void pack_columns(const WeightGradCall<S>& call, const GradRun<S>& run, i64 first, i64 count,
                         Sum<S>* columns) {
  constexpr i64 width = grad_width<S>(), lanes = Vec<S>::lanes;
  const Axis& axis = call.product.rows;
  const Signal<const S>& gy = call.grad_output;
  const Positions& at = call.output_at;
  const bool neighbours = at.phase_step * gy.position_stride == 1 || axis.phases == 1;
  const bool gapless = neighbours && at.frame * gy.position_stride == axis.phases;
  for (i64 col = 0; col < count;) {
    const i64 channel = (first + col) / axis.phases, phase = (first + col) % axis.phases;
    const i64 phases = smaller(axis.phases - phase, count - col);
    i64 channels = phases == axis.phases ? (count - col) / phases : 1;
    const S* from = run.gy + channel * gy.channel_stride;
    Sum<S>* to = columns + col;
    const i64 start =
        run.first_frame * at.frame + (axis.first_phase + phase) * at.phase_step + at.base;
    const Shifts whole =
        neighbours ? frames_with_samples(call, start, phases, run.frames) : Shifts{0, 0};
    const S* at_low = from + (start + whole.first * at.frame) * gy.position_stride;
    Sum<S>* to_low = to + whole.first * width;
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
                n >= 0 && n < gy.length
                    ? widen(from[c * gy.channel_stride + n * gy.position_stride])
                    : 0;
          }
    };
    one_by_one(0, whole.first);
    one_by_one(done, run.frames);
    col += channels * phases;
  }
  if (count % lanes)
    for (i64 f = 0; f < run.frames; ++f)
      for (i64 col = count; col < round_up(count, lanes); ++col) columns[f * width + col] = 0;
}

// The frames of a panel of columns in pairs, for sets that multiply these.
[[maybe_unused]] static void pair_columns(const float* columns, i64 frames, Pair* pairs) {
  constexpr i64 width = grad_width<float>(), lanes = Vec<float>::lanes;
  for (i64 f = 0; f < frames; f += 2, columns += 2 * width, pairs += width)
    for (i64 col = 0; col < width; col += lanes) {
      const Bits first = FirstHalves::put(Bits{}, load(columns + col));
      store(pairs + col,
            f + 1 < frames ? SecondHalves::put(first, load(columns + width + col)) : first);
    }
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

// Those shifts of a run's unit that have frames of the signal in it.
template <class S>
static Shifts shifts_of_run(const WeightGradCall<S>& call, const GradRun<S>& run) {
  i64 first = 0, last = run.shifts;
  while (first < last && !reaches_signal(call, run, run.first_shift + first)) ++first;
  while (first < last && !reaches_signal(call, run, run.first_shift + last - 1)) --last;
  return {first, last};
}

// One run, one by one, where a value that is not finite meets one that does not exist.
template <class S, class W>
static void add_present(const WeightGradCall<S>& call, const GradRun<S>& run, const W* rows,
                        i64 row_count, i64 tile_stride, i64 shift, const W* columns,
                        i64 first_column, i64 column_count, Sum<S>* z, i64 z_stride,
                        bool is_first) {
  constexpr i64 width = grad_width<S>();
  const auto exists = [&](i64 f, i64 col) {
    const i64 t = run.first_frame + f;
    return f < run.frames && sample_of(call, first_column + col, t) >= 0 &&
           frame_exists(call, t + shift * call.product.shift_frames);
  };
  for (i64 i = 0; i < row_count; ++i)
    for (i64 col = 0; col < column_count; ++col) {
      const W* x = rows + (i / tile_rows) * tile_stride + i % tile_rows;
      Sum<S> acc = 0;
      for (i64 word = 0; word * frames_per_word<W> < run.frames; ++word) {
        W a = x[word * tile_rows], b = columns[word * width + col];
        if constexpr (is_pair<W>) {
          const std::uint32_t there =
              (exists(2 * word, col) ? 0xffffu : 0) | (exists(2 * word + 1, col) ? 0xffff0000u : 0);
          a.bits &= there;
          b.bits &= there;
          acc = multiply_add(a, b, acc);
        } else if (exists(word, col)) {
          acc = multiply_add(a, b, acc);
        }
      }
      Sum<S>& sum = z[i * z_stride + col];
      sum = (is_first ? Sum<S>(0) : sum) + acc;
    }
}

template <class S>
static i64 weight_grad_scratch(const WeightGradCall<S>& call) {
  constexpr i64 width = grad_width<S>();
  const i64 rows = round_up(call.row_block, tile_rows);
  const i64 signals = call.separate_shifts ? call.shift_block : 1;
  // Pairs: half as many words, but columns as single ones too, and frames in two alignments.
  return call.shift_block * call.column_block * rows * width +
         (call.pairs ? 2 : 1) * call.run_frames * width + rows * signals * call.window +
         tile_rows * (call.window + Vec<S>::lanes);
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

template <class S, class W>
static void weight_grad_unit(const WeightGradCall<S>& call, const GradUnit<S>& u, Sum<S>* scratch) {
  typedef Sum<S> T;
  constexpr i64 width = grad_width<S>(), lanes = Vec<S>::lanes;
  const Axis& axis = call.product.rows;
  const i64 all_columns = axis.channels * axis.phases;
  const i64 row_tiles = (u.rows + tile_rows - 1) / tile_rows;
  const i64 z_panel = round_up(call.row_block, tile_rows) * width;
  const PackedFrames<S, W> packed(call, u.shifts, row_tiles * tile_rows);
  const i64 tile_stride = packed.words * tile_rows;
  T* z = scratch;
  T* columns = z + call.shift_block * call.column_block * z_panel;
  T* column_words = columns + (is_pair<W> ? call.run_frames * width : 0);
  T* signals = column_words + call.run_frames * width;
  W* rows = reinterpret_cast<W*>(signals + tile_rows * (call.window + lanes));

  const Signal<const S>&x = call.input, &gy = call.grad_output;
  const i64 out_row = call.out_channels * call.kernel;
  S* out = call.grad_weight + (u.group * call.in_channels + u.first_row) * out_row;
  // The sums of a panel and a shift. Where a column is a tap of its own, they can be added up in
  // the result itself.
  struct Sums {
    T* at;
    i64 row;
    bool in_place;
  };
  const auto sums_of = [&](i64 panel, i64 j) {
    if constexpr (!is_half<S>) {
      const i64 column = (u.first_panel + panel) * width;
      if (call.column_is_tap && smaller(width, all_columns - column) % lanes == 0)
        return Sums{out + column, out_row, true};
    }
    return Sums{z + (j * call.column_block + panel) * z_panel, width, false};
  };

  bool begun[most_shift_block] = {};
  const Shifts onto = runs_onto(call, u.first_shift, u.shifts);
  for (i64 b = 0; b < call.batch; ++b)
    for (i64 index = onto.first; index < onto.last; ++index) {
      const i64 begin = index * call.run_frames;
      const GradRun<S> run{
          x.data + b * x.batch_stride +
              (u.group * call.in_channels + u.first_row) * x.channel_stride,
          gy.data + b * gy.batch_stride + u.group * call.out_channels * gy.channel_stride,
          call.first_frame + begin,
          smaller(call.run_frames, call.frames - begin),
          u.first_shift,
          u.shifts};
      const bool is_inside = inside(call, run);
      const i64 words = (run.frames + frames_per_word<W> - 1) / frames_per_word<W>;
      const i64 reach = call.separate_shifts ? 0 : -(u.shifts - 1) * call.product.shift_frames;
      for (i64 j = 0; j < packed.packs; ++j)
        pack_rows(call, packed, run.x, u.rows,
                  run.first_frame + (u.first_shift + j) * call.product.shift_frames - reach,
                  run.frames + reach, signals, rows + packed.at(j, 0));
      // A word that is not full multiplies a frame behind the run by zero.
      const bool whole_words = words * frames_per_word<W> == run.frames;
      bool finite_rows = is_inside && whole_words;
      if (!finite_rows) {
        if constexpr (is_pair<W>)
          finite_rows = all_finite(reinterpret_cast<const S*>(rows), 2 * packed.all());
        else
          finite_rows = all_finite(rows, packed.all());
      }
      for (i64 panel = 0; panel < u.panels; ++panel) {
        const i64 column = (u.first_panel + panel) * width;
        const i64 count = smaller(width, all_columns - column);
        const i64 vectors = (count + lanes - 1) / lanes;
        pack_columns(call, run, column, count, columns);
        if constexpr (is_pair<W>)
          pair_columns(columns, run.frames, reinterpret_cast<Pair*>(column_words));
        bool finite = finite_rows;
        if (!is_inside && vectors == tile_vectors)
          finite = finite && all_finite(columns, run.frames * width);
        else
          for (i64 f = 0; f < run.frames && finite && !is_inside; ++f)
            finite = all_finite(columns + f * width, count);
        for (i64 j = 0; j < u.shifts; ++j) {
          if (!reaches_signal(call, run, u.first_shift + j)) continue;
          const Sums sums = sums_of(panel, j);
          const W* of_columns = reinterpret_cast<const W*>(column_words);
          const W* of_rows = rows + packed.of_shift(j, tile_rows);
          if (!finite) {
            add_present(call, run, of_rows, u.rows, tile_stride, u.first_shift + j, of_columns,
                        column, count, sums.at, sums.row, !begun[j]);
            continue;
          }
          const Strides strides{width, 0, tile_rows, 0};
          for (i64 i = 0; i < row_tiles; ++i)
            tiles<W, false>.by_size[smaller(tile_rows, u.rows - i * tile_rows) - 1][vectors - 1](
                of_columns, of_rows + i * tile_stride, strides, words, 1,
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
      // Rounded where they are: what is written lies before what is read next.
      if constexpr (is_half<S>)
        for (i64 i = 0; i < u.rows * width; i += lanes)
          store(reinterpret_cast<S*>(sums.at) + i, load(sums.at + i));
    }
    if (sums_of(panel, 0).in_place) continue;
    for (i64 col = 0; col < count;) {
      const i64 channel = (column + col) / axis.phases, phase = (column + col) % axis.phases;
      const i64 phases = smaller(axis.phases - phase, count - col);
      const i64 channels = phases == axis.phases ? (count - col) / phases : 1;
      copy_pieces(phases, reinterpret_cast<const S*>(z + panel * z_panel) + col,
                  out + channel * call.kernel + axis.first_phase + phase +
                      u.first_shift * call.product.weight_shift,
                  {{u.rows, width, out_row},
                   {u.shifts, call.column_block * z_panel * static_cast<i64>(sizeof(T) / sizeof(S)),
                    call.product.weight_shift},
                   {channels, phases, call.kernel}});
      col += channels * phases;
    }
  }
}
