// The map R, the gradient of the weight, by the tile: columns (c, phase) along the vector, input
// channels broadcast, frames summed. Included inside the namespace of one instruction set.

// Panels that a unit holds sums of. Those of a call of one run are in place, but for the last
// panel, which may not fill its vectors.
template <class S>
static i64 panels_of_sums(const WeightGradCall<S>& call) {
  return call.one_run ? 1 : call.shift_block * call.column_block;
}

template <class S>
static i64 weight_grad_scratch(const WeightGradCall<S>& call) {
  constexpr i64 width = grad_width<S>();
  const i64 rows = round_up(call.row_block, tile_rows);
  const i64 signals = call.separate_shifts ? call.shift_block : 1;
  // Pairs need half as many words, but columns are held singly too, and frames in two alignments.
  return panels_of_sums(call) * rows * width +
         (call.pairs     ? 2
          : call.one_run ? call.column_block
                         : 1) *
             call.run_frames * width +
         rows * signals * call.window + tile_rows * (call.window + Vec<S>::lanes);
}

// Calls `action` with a number of taps that can be interleaved: 11 of them are usual.
template <class S, class Action>
static inline void with_taps(i64 taps, const Action& action) {
  if constexpr (riffles)
    if (taps == 11) return action(Constant<11>{});
  with_phases<S>(taps, action);
}

// The work of one unit on words W, and where its scratch memory lies.
template <class S, class W>
struct GradWork {
  typedef Sum<S> T;
  static constexpr i64 width = grad_width<S>(), lanes = Vec<S>::lanes;

  // Columns [first, first + count) of the product, which fill so many vectors.
  struct Panel {
    i64 index, first, count, vectors;
  };
  // Where the sums of a panel and a shift are: at[i * row + column].
  struct PanelSums {
    T* at;
    i64 row;
    bool in_place;  // in the gradient itself
  };

  const WeightGradCall<S>& call;
  const GradUnit<S>& unit;
  const i64 row_tiles;
  const PackedFrames<S, W> packed;
  const i64 tile_stride;  // words from one tile of rows to the next
  const i64 panel_sums;   // elements of the sums of one panel and shift
  const i64 out_row;      // elements of the gradient of one input channel
  S* const out;
  T* const z;               // the sums that are not in place: [shift][panel][row][column]
  const i64 panel_columns;  // elements of the samples of one panel
  T* const columns;         // of one run: [frame][column], of one panel or of all
  T* const column_words;
  T* const signals;
  W* const rows;  // of one run: [tile of rows][word][row in tile], as PackedFrames says
  bool begun[most_shift_block] = {};  // shifts whose sums have been written to

  GradWork(const WeightGradCall<S>& c, const GradUnit<S>& u, T* scratch)
      : call(c),
        unit(u),
        row_tiles((u.rows + tile_rows - 1) / tile_rows),
        packed(c, u.shifts, row_tiles * tile_rows),
        tile_stride(packed.words * tile_rows),
        panel_sums(round_up(c.row_block, tile_rows) * width),
        out_row(c.out_channels * c.kernel),
        out(c.grad_weight + (u.group * c.in_channels + u.first_row) * out_row),
        z(scratch),
        panel_columns(c.run_frames * width),
        columns(z + panels_of_sums(c) * panel_sums),
        column_words(columns + (is_pair<W> ? panel_columns : 0)),
        signals(column_words + (c.one_run ? c.column_block : 1) * panel_columns),
        rows(reinterpret_cast<W*>(signals + tile_rows * (c.window + lanes))) {}

  Panel panel_at(i64 index) const {
    const i64 first = (unit.first_panel + index) * width;
    const i64 count = smaller(width, call.product.rows.channels * call.product.rows.phases - first);
    return {index, first, count, (count + lanes - 1) / lanes};
  }

  // Where a column is a tap of its own, whole vectors of sums can be added up in the result itself.
  PanelSums sums_of(const Panel& panel, i64 j) const {
    if constexpr (!is_half<S>)
      if (call.column_is_tap && panel.count % lanes == 0) return {out + panel.first, out_row, true};
    const i64 index = call.one_run ? 0 : j * call.column_block + panel.index;
    return {z + index * panel_sums, width, false};
  }

  // Packs the frames of a run and returns whether all are finite. With `all_multiplied` it returns
  // true without looking: no frame or sample is absent and no word holds a frame behind the run, so
  // that every packed value is a factor of some term.
  bool pack_frames(const GradRun<S>& run, bool all_multiplied) const {
    const i64 shift_frames = call.product.shift_frames;
    const i64 reach = call.separate_shifts ? 0 : -(unit.shifts - 1) * shift_frames;
    for (i64 j = 0; j < packed.packs; ++j)
      pack_rows(call, packed, run.x, unit.rows,
                run.first_frame + (unit.first_shift + j) * shift_frames - reach, run.frames + reach,
                signals, rows + packed.at(j, 0));
    if (all_multiplied) return true;
    if constexpr (is_pair<W>)
      return all_finite(reinterpret_cast<const S*>(rows), 2 * packed.all());
    else
      return all_finite(rows, packed.all());
  }

  // The samples of a panel, before they are put into pairs, and the words that are multiplied.
  T* samples_of(const Panel& panel) const {
    return columns + (call.one_run ? panel.index * panel_columns : 0);
  }
  const W* words_of(const Panel& panel) const {
    return reinterpret_cast<const W*>(is_pair<W> ? column_words : samples_of(panel));
  }

  void pack_samples(const GradRun<S>& run, const Panel& panel) const {
    pack_columns(call, run, panel.first, panel.count, samples_of(panel));
    if constexpr (is_pair<W>)
      pair_columns(columns, run.frames, reinterpret_cast<Pair*>(column_words));
  }

  bool finite_samples(const GradRun<S>& run, const Panel& panel) const {
    const T* samples = samples_of(panel);
    if (panel.vectors == tile_vectors) return all_finite(samples, run.frames * width);
    for (i64 f = 0; f < run.frames; ++f)
      if (!all_finite(samples + f * width, panel.count)) return false;
    return true;
  }

  void add_run(const GradRun<S>& run, bool checked) {
    const i64 words = (run.frames + frames_per_word<W> - 1) / frames_per_word<W>;
    const bool is_inside = !checked || inside(call, run);
    const bool finite_frames =
        pack_frames(run, !checked || (is_inside && words * frames_per_word<W> == run.frames));
    if (call.one_run && finite_frames && reaches_signal(call, run, 0))
      return add_only_run(run, words, is_inside);
    for (i64 index = 0; index < unit.panels; ++index) {
      const Panel panel = panel_at(index);
      pack_samples(run, panel);
      const bool finite = finite_frames && (is_inside || finite_samples(run, panel));
      for (i64 j = 0; j < unit.shifts; ++j) {
        if (!reaches_signal(call, run, unit.first_shift + j)) continue;
        if (finite)
          add_products(panel, j, words, 0, row_tiles);
        else
          add_present(run, panel, j);
      }
    }
    set_begun(run);
  }

  // The sums are the gradient itself, which may be larger than any cache: they are written row by
  // row, so that the processor sees what comes next.
  void add_only_run(const GradRun<S>& run, i64 words, bool is_inside) {
    bool finite[most_column_block];
    for (i64 index = 0; index < unit.panels; ++index) {
      const Panel panel = panel_at(index);
      pack_samples(run, panel);
      finite[index] = is_inside || finite_samples(run, panel);
    }
    for (i64 i = 0; i < row_tiles; ++i)
      for (i64 index = 0; index < unit.panels; ++index)
        if (finite[index]) add_products(panel_at(index), 0, words, i, i + 1);
    for (i64 index = 0; index < unit.panels; ++index)
      if (!finite[index]) add_present(run, panel_at(index), 0);
    set_begun(run);
  }

  void set_begun(const GradRun<S>& run) {
    for (i64 j = 0; j < unit.shifts; ++j)
      begun[j] = begun[j] || reaches_signal(call, run, unit.first_shift + j);
  }

  // For the rows of these tiles.
  void add_products(const Panel& panel, i64 j, i64 words, i64 first_tile, i64 last_tile) const {
    const PanelSums sums = sums_of(panel, j);
    const W* of_rows = rows + packed.of_shift(j, tile_rows);
    const Strides strides{width, 0, tile_rows, 0};
    for (i64 i = first_tile; i < last_tile; ++i)
      turned_tiles<W>.by_size[smaller(tile_rows, unit.rows - i * tile_rows) - 1][panel.vectors - 1](
          words_of(panel), of_rows + i * tile_stride, strides, words, 1,
          sums.at + i * tile_rows * sums.row, sums.row, !begun[j], nullptr);
  }

  // Adds the products that exist one by one, where some value is not finite and another is absent.
  void add_present(const GradRun<S>& run, const Panel& panel, i64 j) const {
    const PanelSums sums = sums_of(panel, j);
    const W* of_columns = words_of(panel);
    const W* of_rows = rows + packed.of_shift(j, tile_rows);
    const i64 back = (unit.first_shift + j) * call.product.shift_frames;
    const auto exists = [&](i64 f, i64 column) {
      const i64 t = run.first_frame + f;
      return f < run.frames && sample_exists(call, panel.first + column, t) &&
             frame_exists(call, t + back);
    };
    for (i64 i = 0; i < unit.rows; ++i)
      for (i64 column = 0; column < panel.count; ++column) {
        const W* row = of_rows + (i / tile_rows) * tile_stride + i % tile_rows;
        T acc = 0;
        for (i64 word = 0; word * frames_per_word<W> < run.frames; ++word) {
          W a = row[word * tile_rows], b = of_columns[word * width + column];
          if constexpr (is_pair<W>) {
            const std::uint32_t there = (exists(2 * word, column) ? 0xffffu : 0) |
                                        (exists(2 * word + 1, column) ? 0xffff0000u : 0);
            a.bits &= there;
            b.bits &= there;
            acc = multiply_add(a, b, acc);
          } else if (exists(word, column)) {
            acc = multiply_add(a, b, acc);
          }
        }
        T& sum = sums.at[i * sums.row + column];
        sum = (begun[j] ? sum : T(0)) + acc;
      }
  }

  bool finite_sums() const {
    for (i64 index = 0; index < unit.panels; ++index)
      for (i64 j = 0; j < unit.shifts; ++j) {
        const Panel panel = panel_at(index);
        const PanelSums sums = sums_of(panel, j);
        for (i64 i = 0; begun[j] && i < unit.rows; ++i)
          if (!all_finite(sums.at + i * sums.row, panel.count)) return false;
      }
    return true;
  }

  // Rounds the sums and stores them at their taps of the weight's gradient, some rows of all panels
  // after the other: the gradient may be larger than any cache, and long stretches are written
  // faster than short ones.
  void store_sums() const {
    for (i64 index = 0; index < unit.panels; ++index) round_panel(panel_at(index));
    for (i64 i = 0; i < unit.rows; i += tile_rows)
      for (i64 index = 0; index < unit.panels; ++index)
        store_rows_of(panel_at(index), i, smaller(tile_rows, unit.rows - i));
  }

 private:
  void round_panel(const Panel& panel) const {
    for (i64 j = 0; j < unit.shifts; ++j) {
      const PanelSums sums = sums_of(panel, j);
      if (!begun[j])
        for (i64 i = 0; i < unit.rows; ++i)
          for (i64 column = 0; column < panel.count; ++column) sums.at[i * sums.row + column] = 0;
      // Rounded in place: a half is shorter than its sum, so no sum is overwritten before it is
      // read.
      if constexpr (is_half<S>)
        for (i64 i = 0; i < unit.rows * width; i += lanes)
          store(reinterpret_cast<S*>(sums.at) + i, load(sums.at + i));
    }
  }

  // Where the taps of a channel are the shifts of one phase, they come from as many vectors.
  // Returns how many columns are stored.
  i64 interleave_taps(const Panel& panel, i64 first_row, i64 count) const {
    const i64 whole = panel.count / lanes * lanes;
    if (is_half<S> || call.product.rows.phases > 1 || unit.shifts < call.kernel) return 0;
    bool stored = false;
    if constexpr (!is_half<S>)
      with_taps<S>(call.kernel, [&](auto constant) {
        constexpr int P = decltype(constant)::value;
        for (i64 i = first_row; i < first_row + count; ++i) {
          const T* from[P];
#pragma GCC unroll 16
          for (int j = 0; j < P; ++j) from[j] = sums_of(panel, j).at + i * width;
          store_interleaved<S, P>(from, 0, nullptr, out + i * out_row + panel.first * P, whole);
        }
        stored = true;
      });
    return stored ? whole : 0;
  }

  void store_rows_of(const Panel& panel, i64 first_row, i64 count) const {
    if (sums_of(panel, 0).in_place) return;
    const Axis& axis = call.product.rows;
    const i64 shift_step = call.column_block * panel_sums * static_cast<i64>(sizeof(T) / sizeof(S));
    const S* sums = reinterpret_cast<const S*>(sums_of(panel, 0).at) + first_row * width;
    S* to =
        out + first_row * out_row + axis.first_phase + unit.first_shift * call.product.weight_shift;
    for (i64 done = interleave_taps(panel, first_row, count); done < panel.count;) {
      const i64 channel = (panel.first + done) / axis.phases;
      const i64 phase = (panel.first + done) % axis.phases;
      const i64 phases = smaller(axis.phases - phase, panel.count - done);
      const i64 channels = phases == axis.phases ? (panel.count - done) / phases : 1;
      copy_pieces(phases, sums + done, to + channel * call.kernel + phase,
                  {{count, width, out_row},
                   {unit.shifts, shift_step, call.product.weight_shift},
                   {channels, phases, call.kernel}});
      done += channels * phases;
    }
  }
};

// Adds up all runs of a unit. `checked`: products that do not exist are left out where some factor
// is not finite, as grad_pack.hpp says; otherwise zeros stand for them everywhere.
template <class S, class W>
static GradWork<S, W> unit_sums(const WeightGradCall<S>& call, const GradUnit<S>& unit,
                                const Range& runs, bool checked, Sum<S>* scratch) {
  GradWork<S, W> work(call, unit, scratch);
  for (i64 entry = 0; entry < call.batch; ++entry)
    for (i64 index = runs.first; index < runs.last; ++index)
      work.add_run(grad_run(call, unit, entry, index), checked);
  return work;
}

static constexpr i64 few_runs = 4;  // whose factors are looked at rather than the sums

// A unit of many runs looks at its sums in the end, which are fewer than all that it multiplies: a
// factor that is not finite has made a NaN of each sum in which it met a zero.
template <class S, class W>
static void weight_grad_unit(const WeightGradCall<S>& call, const GradUnit<S>& unit,
                             Sum<S>* scratch) {
  const Range runs = runs_onto(call, unit.first_shift, unit.shifts);
  const bool checked = call.batch * (runs.last - runs.first) < few_runs;
  GradWork<S, W> work = unit_sums<S, W>(call, unit, runs, checked, scratch);
  const bool correct = checked || work.finite_sums();
  const GradWork<S, W> used = correct ? work : unit_sums<S, W>(call, unit, runs, true, scratch);
  used.store_sums();
}
