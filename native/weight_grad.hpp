// The map R, the gradient of the weight, by the tile: columns (c, phase) along the vector, input
// channels broadcast, frames summed. Included inside the namespace of one instruction set.

template <class S>
static i64 weight_grad_scratch(const WeightGradCall<S>& call) {
  constexpr i64 width = grad_width<S>();
  const i64 rows = round_up(call.row_block, tile_rows);
  const i64 signals = call.separate_shifts ? call.shift_block : 1;
  // Pairs need half as many words, but columns are held singly too, and frames in two alignments.
  return call.shift_block * call.column_block * rows * width +
         (call.pairs ? 2 : 1) * call.run_frames * width + rows * signals * call.window +
         tile_rows * (call.window + Vec<S>::lanes);
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
  T* const z;        // the sums that are not in place: [shift][panel][row][column]
  T* const columns;  // of one run and panel: [frame][column]
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
        columns(z + c.shift_block * c.column_block * panel_sums),
        column_words(columns + (is_pair<W> ? c.run_frames * width : 0)),
        signals(column_words + c.run_frames * width),
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
    return {z + (j * call.column_block + panel.index) * panel_sums, width, false};
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

  void pack_samples(const GradRun<S>& run, const Panel& panel) const {
    pack_columns(call, run, panel.first, panel.count, columns);
    if constexpr (is_pair<W>)
      pair_columns(columns, run.frames, reinterpret_cast<Pair*>(column_words));
  }

  bool finite_samples(const GradRun<S>& run, const Panel& panel) const {
    if (panel.vectors == tile_vectors) return all_finite(columns, run.frames * width);
    for (i64 f = 0; f < run.frames; ++f)
      if (!all_finite(columns + f * width, panel.count)) return false;
    return true;
  }

  void add_run(const GradRun<S>& run) {
    const i64 words = (run.frames + frames_per_word<W> - 1) / frames_per_word<W>;
    const bool is_inside = inside(call, run);
    const bool finite_frames =
        pack_frames(run, is_inside && words * frames_per_word<W> == run.frames);
    for (i64 index = 0; index < unit.panels; ++index) {
      const Panel panel = panel_at(index);
      pack_samples(run, panel);
      const bool finite = finite_frames && (is_inside || finite_samples(run, panel));
      for (i64 j = 0; j < unit.shifts; ++j) {
        if (!reaches_signal(call, run, unit.first_shift + j)) continue;
        if (finite)
          add_products(panel, j, words);
        else
          add_present(run, panel, j);
      }
    }
    for (i64 j = 0; j < unit.shifts; ++j)
      begun[j] = begun[j] || reaches_signal(call, run, unit.first_shift + j);
  }

  void add_products(const Panel& panel, i64 j, i64 words) const {
    const PanelSums sums = sums_of(panel, j);
    const W* of_columns = reinterpret_cast<const W*>(column_words);
    const W* of_rows = rows + packed.of_shift(j, tile_rows);
    const Strides strides{width, 0, tile_rows, 0};
    for (i64 i = 0; i < row_tiles; ++i)
      turned_tiles<W>.by_size[smaller(tile_rows, unit.rows - i * tile_rows) - 1][panel.vectors - 1](
          of_columns, of_rows + i * tile_stride, strides, words, 1,
          sums.at + i * tile_rows * sums.row, sums.row, !begun[j], nullptr);
  }

  // Adds the products that exist one by one, where some value is not finite and another is absent.
  void add_present(const GradRun<S>& run, const Panel& panel, i64 j) const {
    const PanelSums sums = sums_of(panel, j);
    const W* of_columns = reinterpret_cast<const W*>(column_words);
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

  // Rounds the sums of a panel and stores them at their taps of the weight's gradient.
  void store_panel(const Panel& panel) const {
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
    if (sums_of(panel, 0).in_place) return;
    const Axis& axis = call.product.rows;
    const i64 shift_step = call.column_block * panel_sums * static_cast<i64>(sizeof(T) / sizeof(S));
    const S* rounded_sums = reinterpret_cast<const S*>(z + panel.index * panel_sums);
    for (i64 done = 0; done < panel.count;) {
      const i64 channel = (panel.first + done) / axis.phases;
      const i64 phase = (panel.first + done) % axis.phases;
      const i64 phases = smaller(axis.phases - phase, panel.count - done);
      const i64 channels = phases == axis.phases ? (panel.count - done) / phases : 1;
      copy_pieces(phases, rounded_sums + done,
                  out + channel * call.kernel + axis.first_phase + phase +
                      unit.first_shift * call.product.weight_shift,
                  {{unit.rows, width, out_row},
                   {unit.shifts, shift_step, call.product.weight_shift},
                   {channels, phases, call.kernel}});
      done += channels * phases;
    }
  }
};

template <class S, class W>
static void weight_grad_unit(const WeightGradCall<S>& call, const GradUnit<S>& unit,
                             Sum<S>* scratch) {
  GradWork<S, W> work(call, unit, scratch);
  const Range onto = runs_onto(call, unit.first_shift, unit.shifts);
  for (i64 entry = 0; entry < call.batch; ++entry)
    for (i64 index = onto.first; index < onto.last; ++index)
      work.add_run(grad_run(call, unit, entry, index));
  for (i64 index = 0; index < unit.panels; ++index) work.store_panel(work.panel_at(index));
}
