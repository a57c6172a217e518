// The operands of the map R as its tile reads them: rows of frames, which are broadcast, and
// columns of samples, which lie along the vector. Included inside the namespace of one instruction
// set.
//
// Where words are pairs, they hold frames 0 and 1, 2 and 3, ... of a run. Shifts by an odd number
// of frames need frames 1 and 2, 3 and 4, ...: for these, frames are packed a second time.

// Where the frames of a run are packed: once for all shifts, or once for each shift (`separate`).
// Pairs may be packed in two alignments: from the first frame on, and from the second one on.
template <class S, class W>
struct PackedFrames {
  i64 packs;       // 1, or one for each shift
  i64 alignments;  // 1 or 2
  i64 words;       // of one row
  i64 channels;    // rows
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
  // The word of row 0 with which the frames of shift j begin. The next word of a row is `row_words`
  // further on.
  i64 of_shift(i64 j, i64 row_words) const {
    if (separate) return at(j, 0);
    const i64 frame = (shifts - 1 - j) * shift;
    return at(0, is_pair<W> ? frame % 2 : 0) + frame / frames_per_word<W> * row_words;
  }
};

// The type that signals of a run are copied to where they cannot be read in place: single numbers
// as they are computed with, pairs as they are stored.
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

// Writes a tile of rows, rows[word][row in tile], of `padded` words of frames from the signals of
// tile_rows channels.
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

// Packs `frames` frames from `first` on, of `count` channels. `scratch` has room for tile_rows
// signals of call.window + one vector of frames.
template <class S, class W>
static void pack_rows(const WeightGradCall<S>& call, const PackedFrames<S, W>& packed, const S* x,
                      i64 count, i64 first, i64 frames, Sum<S>* scratch, W* rows) {
  typedef typename Signals<S, W>::type X;
  const Signal<const S>& input = call.input;
  const i64 padded = call.window, reach = padded + packed.alignments - 1;
  const bool in_place = input.position_stride == 1 && first >= 0 && first + reach <= input.length;
  X* signals = reinterpret_cast<X*>(scratch);
  for (i64 i = 0; i < count; i += tile_rows, rows += packed.words * tile_rows) {
    // The rows that fill up the last tile repeat its last channel; their sums are not stored.
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

// The frames of a run in which each of `phases` phases has a sample. The first phase has sample
// `start` in frame 0 of the run. (In Python that is frames_reaching, reach.py; tested by results,
// as grad_run.hpp says.)
template <class T>
static Range frames_with_samples(const WeightGradCall<T>& call, i64 start, i64 phases, i64 frames) {
  const Positions& at = call.output_at;
  const i64 last = call.grad_output.length - 1 - start - (phases - 1) * at.phase_step;
  const i64 low = smaller(larger(ceil_div(-start, at.frame), 0), frames);
  return {low, smaller(larger(floor_div(last, at.frame) + 1, low), frames)};
}

// Writes to[f * to_step + column] = frame f of a column, for a vector of columns and as many frames
// as fill whole squares. Each signal has one column, or two that are neighbours in memory: T is as
// wide as a frame of it. Returns how many frames are done.
template <class T, class S>
static i64 transpose_frames(const S* from, i64 channel_step, i64 frames, Sum<S>* to, i64 to_step) {
  typedef typename Vec<T>::type V;
  constexpr i64 lanes = Vec<T>::lanes, phases = sizeof(T) / sizeof(Sum<S>);
  if (frames < lanes) return 0;
  for (i64 f = 0; f < frames; f += lanes) {
    const i64 first = smaller(f, frames - lanes);  // the last square has some frames once more
    V r[lanes];
#pragma GCC unroll 16
    for (int c = 0; c < lanes; ++c)
      r[c] = reinterpret_cast<V>(load(from + c * channel_step + first * phases));
    transpose<T>(r);
#pragma GCC unroll 16
    for (int c = 0; c < lanes; ++c) store(reinterpret_cast<T*>(to + (first + c) * to_step), r[c]);
  }
  return frames;
}

template <class S>
static i64 transpose_phases(const S* from, i64 channel_step, i64 phases, i64 frames, Sum<S>* to,
                            i64 to_step) {
  if (phases == 1) return transpose_frames<Sum<S>>(from, channel_step, frames, to, to_step);
  if constexpr (sizeof(Sum<S>) == 4)
    if (phases == 2) return transpose_frames<double>(from, channel_step, frames, to, to_step);
  return 0;
}

// Vector c gets `lanes` frames of column c, `by` elements apart: of `phases` phases of each
// channel, which are neighbours in memory.
template <class S, int by>
static void load_frames_apart(const S* from, i64 channel_step, i64 phases,
                              typename Vec<S>::type* columns) {
  for (i64 c = 0; c < Vec<S>::lanes; c += phases, from += channel_step)
    for (i64 q = 0; q < phases; ++q) columns[c + q] = load_strided<S, by>(from + q);
}

// transpose_phases where frames are further apart than their phases: `by` elements. No more than
// `readable` of these are read from the first one on, in any channel.
template <class S>
static i64 transpose_apart(const S* from, i64 channel_step, i64 phases, i64 by, i64 readable,
                           i64 frames, Sum<S>* to, i64 to_step) {
  constexpr i64 lanes = Vec<S>::lanes;
  if (phases > 2) return 0;  // longer pieces are copied as fast
  i64 f = 0;
  for (; f + lanes <= frames && (f + lanes) * by + phases - 1 <= readable; f += lanes) {
    const S* first = from + f * by;
    typename Vec<S>::type r[lanes];
    const bool known = with_stride(by, [&](auto constant) {
      load_frames_apart<S, decltype(constant)::value>(first, channel_step, phases, r);
    });
    if (!known) return 0;
    transpose<Sum<S>>(r);
#pragma GCC unroll 16
    for (int c = 0; c < lanes; ++c) store(to + (f + c) * to_step, r[c]);
  }
  return f;
}

// Neighbouring columns of a panel that are copied alike: `phases` phases of `channels` channels,
// phases side by side.
template <class S>
struct ColumnPiece {
  const S* from;  // sample 0 of the first channel
  i64 start;      // the sample of the first phase in the first frame of the run
  Sum<S>* to;     // the first column in the first frame of the run
  i64 phases, channels;
};

// Copies frames in which every sample of the piece exists. Where a vector of columns has been
// transposed, `piece` is cut to these columns.
template <class S>
static void copy_whole_frames(const WeightGradCall<S>& call, ColumnPiece<S>& piece, Range frames) {
  constexpr i64 width = grad_width<S>(), lanes = Vec<S>::lanes;
  const Signal<const S>& gy = call.grad_output;
  const i64 frame_step = call.output_at.frame * gy.position_stride;
  const i64 first = piece.start + frames.first * call.output_at.frame;
  const S* from = piece.from + first * gy.position_stride;
  Sum<S>* to = piece.to + frames.first * width;
  i64 count = frames.last - frames.first;
  const i64 phases = piece.phases;
  if (phases * piece.channels >= lanes && lanes % phases == 0) {
    const i64 moved =
        frame_step == call.product.rows.phases
            ? transpose_phases(from, gy.channel_stride, phases, count, to, width)
            : transpose_apart(from, gy.channel_stride, phases, frame_step,
                              gy.position_stride == 1 ? gy.length - first : 0, count, to, width);
    if (moved) piece.channels = lanes / phases;
    from += moved * frame_step;
    to += moved * width;
    count -= moved;
  }
  copy_pieces(phases, from, to,
              {{1, 0, 0}, {piece.channels, gy.channel_stride, phases}, {count, frame_step, width}});
}

// Copies frames [low, high) sample by sample, with 0 where there is none.
template <class S>
static void copy_present_samples(const WeightGradCall<S>& call, const ColumnPiece<S>& piece,
                                 i64 low, i64 high) {
  const Signal<const S>& gy = call.grad_output;
  const Positions& at = call.output_at;
  for (i64 f = low; f < high; ++f)
    for (i64 c = 0; c < piece.channels; ++c)
      for (i64 q = 0; q < piece.phases; ++q) {
        const i64 n = piece.start + f * at.frame + q * at.phase_step;
        piece.to[f * grad_width<S>() + c * piece.phases + q] =
            n >= 0 && n < gy.length
                ? widen(piece.from[c * gy.channel_stride + n * gy.position_stride])
                : 0;
      }
}

// columns[frame][column]: samples of the output's gradient, 0 where there is none; `count` columns
// from `first` on, then zeros to the end of a vector.
template <class S>
static void pack_columns(const WeightGradCall<S>& call, const GradRun<S>& run, i64 first, i64 count,
                         Sum<S>* columns) {
  constexpr i64 width = grad_width<S>(), lanes = Vec<S>::lanes;
  const Axis& axis = call.product.rows;
  const Signal<const S>& gy = call.grad_output;
  const Positions& at = call.output_at;
  const bool neighbours = at.phase_step * gy.position_stride == 1 || axis.phases == 1;
  for (i64 col = 0; col < count;) {
    const i64 channel = (first + col) / axis.phases, phase = (first + col) % axis.phases;
    const i64 phases = smaller(axis.phases - phase, count - col);
    ColumnPiece<S> piece{
        run.gy + channel * gy.channel_stride,
        run.first_frame * at.frame + (axis.first_phase + phase) * at.phase_step + at.base,
        columns + col, phases, phases == axis.phases ? (count - col) / phases : 1};
    const Range whole =
        neighbours ? frames_with_samples(call, piece.start, phases, run.frames) : Range{0, 0};
    if (whole.first < whole.last) copy_whole_frames(call, piece, whole);
    copy_present_samples(call, piece, 0, whole.first);
    copy_present_samples(call, piece, whole.last, run.frames);
    col += piece.channels * phases;
  }
  if (count % lanes)
    for (i64 f = 0; f < run.frames; ++f)
      for (i64 col = count; col < round_up(count, lanes); ++col) columns[f * width + col] = 0;
}

// Puts the frames of a panel of columns into pairs, for sets that multiply these.
[[maybe_unused]] static void pair_columns(const float* columns, i64 frames, Pair* pairs) {
  constexpr i64 width = grad_width<float>(), lanes = Vec<float>::lanes;
  for (i64 f = 0; f < frames; f += 2, columns += 2 * width, pairs += width)
    for (i64 col = 0; col < width; col += lanes) {
      const Bits first = FirstHalves::put(Bits{}, load(columns + col));
      store(pairs + col,
            f + 1 < frames ? SecondHalves::put(first, load(columns + width + col)) : first);
    }
}
