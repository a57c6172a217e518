// The maps T and C: weight panels times packed frames, unit by unit. Included inside the namespace
// of one instruction set.

// Weights up to this size are not fetched early. (Larger ones may have been pushed out of the
// second-level cache by those of other layers.)
static constexpr i64 cached_bytes = 64 * 1024;
// Weights that a single frame finds in the third-level cache: there the processor's own fetching of
// a few streams is enough, and ours costs 6 %.
static constexpr i64 near_bytes = 16 * 1024 * 1024;

// Where the parts of a thread's scratch memory begin, in elements. A panel that a unit packs for
// itself is at 0.
struct Workspace {
  i64 single;     // terms of a panel one by one, before they are put into pairs
  i64 sums;       // Z[row][frame]
  i64 rest_sums;  // Z[frame][row] of frames that are broadcast
  i64 frames;     // packed rows
  i64 end;
  i64 sums_row;  // from one row of Z to the next
};

template <class S>
static Workspace workspace_of(const Call<S>& call) {
  constexpr i64 lanes = Vec<S>::lanes, width = panel_vectors * lanes;
  const Product& p = call.product;
  i64 rows = 0;
  for (const Segment& segment : p.segments)
    rows += segment.words * (call.separate_shifts ? segment.shifts : 1);
  Workspace w;
  w.single = call.packed ? 0 : p.panel_stride;
  w.sums = w.single + (call.packed ? 0 : pack_scratch(p));
  w.sums_row = round_up((call.entries - 1) * call.pitch + call.block_frames, lanes);
  w.rest_sums = w.sums + width * w.sums_row;
  w.frames = w.rest_sums + width * turned_vectors * lanes;
  w.end = w.frames + rows * call.window;
  return w;
}

template <class S>
static i64 scratch_elements(const Call<S>& call) {
  if (is_run_as_filter(call)) return filter_space_of(call).end;
  return workspace_of(call).end;
}

// What one unit multiplies: rows of a panel, and frames of a block.
template <class W>
struct Unit {
  Block block;
  i64 frames_there;  // of all entries of the block
  bool complete;     // whether every term of every row and frame exists
  bool all_shifts;   // whether all shifts are multiplied for each frame
  bool in_place;     // whether frames are read where they lie
  bool skip_absent;  // whether terms that do not exist are left out of the sums one by one
  bool fetches;      // whether the weights of a run are fetched while the run before is multiplied
  const W* panel;
  bool by_run;  // the panel is packed run by run, each in the place of the one before
  i64 first_row, rows;
  const W* frames;          // at shift 0, packed or where they lie
  i64 window, frame_shift;  // from one row of them to the next, from one shift to the next
  i64 along;                // frames that lie along the vector, in whole vectors
  i64 rest;                 // the frames after these, which are broadcast
};

// Computes the sums again, term by term, for frames where some term is absent: a weight that is not
// finite must not be multiplied by the zero that stands for a frame that does not exist.
template <class S, class W>
static void sum_present(const Call<S>& call, const Unit<W>& unit, const Sums<Sum<S>>& sums) {
  const Product& p = call.product;
  for (i64 f = 0; f < sums.frames; ++f) {
    const i64 frame = sums.first_frame + f;
    if (all_present(call, frame, 1)) continue;
    for (i64 r = 0; r < unit.rows; ++r) {
      Sum<S> total = 0;
      const W* w = unit.panel + r;
      for (const Segment& segment : p.segments) {
        const Runs runs(segment);
        for (i64 first = 0; first < runs.all_channels; first += runs.channels)
          for (i64 j0 = 0; j0 < segment.shifts; j0 += runs.shifts) {
            Sum<S> acc = 0;
            for (i64 u = first; u < smaller(first + runs.channels, runs.all_channels); ++u)
              for (i64 j = j0; j < smaller(j0 + runs.shifts, segment.shifts); ++j) {
                W weight = w[(u * segment.shifts + j) * p.step_stride], value;
                if (present(call, unit.block, segment.axis, u, frame, j, weight, value))
                  acc = multiply_add(value, weight, acc);
              }
            total = total + acc;
          }
        w += runs.all_channels * segment.shifts * p.step_stride;
      }
      sums.z[r * sums.row_stride + f * sums.frame_stride] = total;
    }
  }
}

// One run of the sum: shifts [first_shift, last_shift) of `channels` channels. `w` and `x` are at
// shift 0 of the first channel.
template <class W>
struct Run {
  const W *w, *x;
  i64 channels, first_shift, last_shift;
  const Strides &along, &rest;
  bool first;     // of its sum
  const W* next;  // the weights behind this run's
};

template <class S, class W>
static inline void run_along(const Call<S>& call, const Unit<W>& unit, const Run<W>& run,
                             const Sums<Sum<S>>& sums) {
  constexpr int lanes = Vec<S>::lanes;
  Sum<S>* const z = sums.z;
  const i64 along = unit.along, rows = unit.rows, z_row = sums.row_stride;
  const i64 x_shift = unit.frame_shift, w_shift = call.product.step_stride;
  for (i64 f = 0, vectors; f < along; f += vectors * lanes) {
    vectors = vectors_of_tile((along - f) / lanes, rows);
    i64 from = run.first_shift, to = run.last_shift;
    if (!unit.all_shifts) {
      const Range onto = shifts_onto(call, unit.block.first_frame + f,
                                     smaller(vectors * lanes, unit.block.frames - f));
      from = larger(from, onto.first);
      to = smaller(to, onto.last);
    }
    if (from >= to && !run.first) continue;
    const i64 shifts = larger(to - from, 0);
    for (i64 r = 0; r < rows; r += tile_rows) {
      const bool fetches = f == 0 && unit.fetches && rows - r >= tile_rows;
      const auto multiply_tile =
          fetches ? fetching_tiles<W>[vectors - 1]
                  : tiles<W>.by_size[smaller(tile_rows, rows - r) - 1][vectors - 1];
      multiply_tile(run.x + from * x_shift + f, run.w + from * w_shift + r, run.along, run.channels,
                    shifts, z + r * z_row + f, z_row, run.first,
                    run.next + r * run.channels * shifts);
    }
  }
}

// `onto`: the shifts that read some position of the signal for these frames.
template <class S, class W>
static inline void run_rest(const Call<S>& call, const Unit<W>& unit, const Run<W>& run,
                            const Range& onto, const Sums<Sum<S>>& sums) {
  constexpr int lanes = Vec<S>::lanes;
  const i64 row_vectors = (unit.rows + lanes - 1) / lanes, z_frame = sums.frame_stride;
  const i64 from = larger(run.first_shift, onto.first), to = smaller(run.last_shift, onto.last);
  const W* x = run.x + from * unit.frame_shift + unit.along;
  const W* w = run.w + from * call.product.step_stride;
  const i64 tiles_of_frames = (unit.rest + lane_frames - 1) / lane_frames;
  const i64 shifts = larger(to - from, 0), width = call.product.step_stride;
  Strides by = run.rest;
  by.fetched = (width + tiles_of_frames - 1) / larger(tiles_of_frames, 1);
  // (Frames along the vector have fetched the weights.)
  const auto& table = !unit.fetches || unit.along ? turned_tiles<W>
                      : tiles_of_frames == 1      ? fetching_turned_tiles<W>
                                                  : sharing_turned_tiles<W>;
  for (i64 f = 0, frames, index = 0; f < unit.rest; f += frames, ++index) {
    frames = (unit.rest - f) / (tiles_of_frames - index);  // all tiles alike
    table.by_size[frames - 1][row_vectors - 1](
        w, x + f, by, run.channels, shifts, sums.z + f * z_frame, z_frame, run.first,
        run.next + index * by.fetched * run.channels * shifts);
  }
}

// The weights of a panel as they lie, and where they are packed.
template <class S>
struct PanelSource {
  const S* weight;  // of the group
  i64 index;
  Sum<S>* packed;
};

// The sums of a unit, run by run.
template <class S, class W>
static inline void multiply(const Call<S>& call, const Unit<W>& unit, const PanelSource<S>& source,
                            const Sums<Sum<S>>& sums, const Sums<Sum<S>>& rest_sums) {
  const Product& p = call.product;
  const Range onto_rest = unit.all_shifts
                              ? Range{0, p.segments[0].shifts}
                              : shifts_onto(call, rest_sums.first_frame, larger(unit.rest, 1));
  const Range onto = unit.all_shifts ? Range{0, p.segments[0].shifts}
                                     : shifts_onto(call, unit.block.first_frame, unit.block.frames);
  const W *w = unit.panel, *x = unit.frames;
  bool first = true;
  for (const Segment& segment : p.segments) {
    const Runs runs(segment);
    const i64 x_channel = call.separate_shifts ? segment.shifts * unit.window : unit.window;
    const i64 w_channel = segment.shifts * p.step_stride;
    const Strides along{x_channel, unit.frame_shift, w_channel, p.step_stride};
    const Strides rest{w_channel, p.step_stride, x_channel, unit.frame_shift};
    const auto weights = [&](i64 u, i64 channels) {
      if (!unit.by_run) return w + u * w_channel;
      pack_panel(p, source.weight, source.index, {u, channels, onto}, source.packed);
      return w;
    };
    i64 u = 0;
    if (unit.frames_there == 1 && unit.rest == 1 && onto_rest.first == 0 &&
        onto_rest.last == segment.shifts && runs.shifts == segment.shifts) {
      constexpr int most = panel_vectors;
      const bool narrow = unit.rows <= Vec<W>::lanes;
      const auto add_runs = unit.fetches
                                ? (narrow ? tile_runs<W, 1, true> : tile_runs<W, most, true>)
                            : narrow ? tile_runs<W, 1, false>
                                     : tile_runs<W, most, false>;
      const i64 channels = runs_at_once * runs.channels;
      for (; u + channels <= runs.all_channels; u += channels, first = false)
        add_runs(weights(u, channels), x + u * x_channel, rest, runs.channels, segment.shifts,
                 rest_sums.z, first);
    }
    for (; u < runs.all_channels; u += runs.channels) {
      const i64 channels = smaller(runs.channels, runs.all_channels - u);
      const W* own = weights(u, channels);
      for (i64 j = 0; j < segment.shifts; j += runs.shifts) {
        const i64 last = smaller(j + runs.shifts, segment.shifts);
        const Run<W> run{own,
                         x + u * x_channel,
                         channels,
                         j,
                         last,
                         along,
                         rest,
                         first,
                         own + ((channels - 1) * segment.shifts + last) * p.step_stride};
        run_along(call, unit, run, sums);
        run_rest(call, unit, run, onto_rest, rest_sums);
        first = false;
      }
    }
    w += runs.all_channels * w_channel;
    x += runs.all_channels * x_channel;
  }
}

// Stores the sums of a unit in the output.
template <class S, class W>
static inline void store_sums(const Call<S>& call, const Unit<W>& unit, const Sums<Sum<S>>& sums) {
  const Block& block = unit.block;
  const i64 first_channel = block.group * call.target_channels;
  const auto at_group = [&](auto signal) {
    if (signal.data)
      signal.data += block.entry * signal.batch_stride + first_channel * signal.channel_stride;
    return signal;
  };
  Outlet<S> out{call.product.rows, call.target_at, at_group(call.target),
                call.bias ? call.bias + first_channel : nullptr, at_group(call.around.residual)};
  const Carried<S> carried = at_group(call.around.residual_carried);
  i64 done = 0;
  if (carried.data)
    done =
        smaller(larger(carried.length - (sums.first_frame + call.target_at.base), 0), sums.frames);
  if (done < sums.frames) store_rows(sums.part(done, sums.frames), unit.first_row, unit.rows, out);
  if (done == 0) return;
  out.residual = {carried.data, carried.batch_stride, carried.channel_stride,
                  carried.position_stride, carried.length};
  store_rows(sums.part(0, done), unit.first_row, unit.rows, out);
}

// What the map C does with frames outside the signal. The call that computes their sums writes them
// to `edges`; the call for the signal's own frames then adds them to those that they copy. Returns
// whether the sums are to be stored in the output.
template <class S, class W>
static inline bool fold(const Call<S>& call, const Unit<W>& unit, const Sums<Sum<S>>& sums) {
  if (!call.edges.sums) return true;
  const i64 channel =
      (unit.block.entry * call.groups + unit.block.group) * call.target_channels + unit.first_row;
  Sum<S>* edges = call.edges.sums + channel * call.edges.count;
  if (call.edges.copies)
    add_edges(sums, unit.rows, edges, call.edges);
  else
    write_edges(sums, unit.rows, edges + (sums.first_frame - call.first_frame), call.edges.count);
  return call.edges.copies;
}

// Brings the sums of a part of a unit's frames, of which `begin` is the first one, to the output:
// those of each batch entry.
template <class S, class W>
static inline void finish(const Call<S>& call, const Unit<W>& unit, const Sums<Sum<S>>& part,
                          i64 begin) {
  Unit<W> own = unit;
  for (i64 e = 0; e < unit.block.entries; ++e, ++own.block.entry) {
    const i64 start = e * call.pitch - begin;
    const i64 first = larger(start, 0), last = smaller(start + own.block.frames, part.frames);
    if (first >= last) continue;
    Sums<Sum<S>> sums = part.part(first, last);
    sums.first_frame = own.block.first_frame + first - start;
    if (own.skip_absent) sum_present(call, own, sums);
    if (fold(call, own, sums)) store_sums(call, own, sums);
  }
}

// Sets the frames of a unit: where they lie, or packed, once for all units of a block.
template <class S, class W>
static inline void set_frames(const Call<S>& call, bool is_packed, W* packed, Unit<W>& unit) {
  const Block& block = unit.block;
  const i64 back = window_back(call.product);
  unit.frame_shift = call.separate_shifts ? call.window : call.product.shift_frames;
  if constexpr (__is_same(S, W))
    if (unit.in_place) {
      const Signal<const S>& source = call.source;
      unit.frames = source.data + block.entry * source.batch_stride +
                    block.group * call.source_channels * source.channel_stride + block.first_frame +
                    call.source_at.base;
      unit.window = source.channel_stride;
      return;
    }
  if (!is_packed) pack_block(call, block, packed);
  unit.frames = packed + (call.separate_shifts ? 0 : back);
  unit.window = call.window;
}

// Sets the panel of a unit, and packs it here where the weight is not packed as a whole.
template <class S, class W>
static inline void set_panel(const Call<S>& call, const PanelSource<S>& source, Sum<S>* single,
                             Unit<W>& unit) {
  const Product& p = call.product;
  // Zeros may stand for absent terms unless some weight of the panel is not finite.
  unit.skip_absent = call.skip_absent && !unit.complete;
  unit.by_run = !call.packed && packs_runs(p);
  const Sum<S>* words = source.packed;
  if (call.packed)
    words = call.packed + unit.block.group * call.packed_group + p.packed_offset +
            source.index * p.panel_stride;
  else if (!unit.by_run &&
           pack_words(p, source.weight, source.index, source.packed, single, unit.skip_absent))
    unit.skip_absent = false;
  unit.panel = reinterpret_cast<const W*>(words);
}

// Once a panel that was packed run by run is multiplied: where a weight that is not finite has met
// a zero, the sum is NaN. Only then is the panel packed as a whole, and looked at.
template <class S, class W>
static inline void look_at_sums(const Call<S>& call, const PanelSource<S>& source, Sum<S>* single,
                                const Sums<Sum<S>>& sums, const Sums<Sum<S>>& rest_sums,
                                Unit<W>& unit) {
  if (!unit.by_run || !unit.skip_absent) return;
  bool finite = true;
  for (i64 r = 0; finite && r < unit.rows; ++r)
    finite = all_finite(sums.z + r * sums.row_stride, sums.frames);
  for (i64 f = 0; finite && f < rest_sums.frames; ++f)
    finite = all_finite(rest_sums.z + f * rest_sums.frame_stride, unit.rows);
  if (finite || pack_words(call.product, source.weight, source.index, source.packed, single, true))
    unit.skip_absent = false;
}

template <class S, class W>
static void run_words(const Call<S>& call, i64 first_unit, i64 last_unit, Sum<S>* scratch) {
  constexpr i64 width = panel_vectors * Vec<S>::lanes;
  const i64 all_rows = call.product.rows.channels * call.product.rows.phases;
  const i64 panels = (all_rows + width - 1) / width;
  const Workspace space = workspace_of(call);
  W* packed = reinterpret_cast<W*>(scratch + space.frames);
  const i64 weight_bytes =
      call.groups * panels * call.product.panel_stride * static_cast<i64>(sizeof(W));
  i64 packed_block = -1;
  for (i64 index = first_unit; index < last_unit; ++index) {
    const i64 panel = index % panels;
    Unit<W> unit;
    unit.block = block_of(call, index / panels);
    const Block& block = unit.block;
    unit.frames_there = all_frames(call, block);
    unit.fetches =
        call.packed && weight_bytes > (unit.frames_there == 1 ? near_bytes : cached_bytes);
    unit.complete = all_present(call, block.first_frame, block.frames);
    unit.all_shifts = unit.complete || call.entries > 1;
    unit.in_place =
        call.in_place && unit.complete &&
        block.first_frame + call.source_at.base - window_back(call.product) >= call.carried.length;
    unit.first_row = panel * width;
    unit.rows = smaller(width, all_rows - unit.first_row);
    set_frames(call, index / panels == packed_block, packed, unit);
    if (!unit.in_place) packed_block = index / panels;
    const S* weight = call.packed ? nullptr : call.weight + block.group * call.weight_group;
    const PanelSource<S> source{weight, panel, scratch};
    Sum<S>* const single = scratch + space.single;
    set_panel(call, source, single, unit);
    unit.along = frames_along<W>(unit.frames_there, unit.rows, unit.in_place);
    unit.rest = larger(unit.frames_there - unit.along, 0);

    const i64 along = unit.frames_there - unit.rest;
    Sums<Sum<S>> parts[]{
        {scratch + space.sums, space.sums_row, 1, block.first_frame, along},
        {scratch + space.rest_sums, 1, width, block.first_frame + along, unit.rest}};
    multiply(call, unit, source, parts[0], parts[1]);
    if (unit.rest > 1) {
      turn_sums(parts[1], unit.rows, parts[0].z + along, space.sums_row);
      parts[0].frames = unit.frames_there;
      parts[1].frames = 0;
    }
    look_at_sums(call, source, single, parts[0], parts[1], unit);
    finish(call, unit, parts[0], 0);
    finish(call, unit, parts[1], parts[0].frames);
  }
}

template <class S>
static void run_units(const Call<S>& call, i64 first_unit, i64 last_unit, Sum<S>* scratch) {
  if (is_run_as_filter(call)) return run_filters(call, first_unit, last_unit, scratch);
  if constexpr (multiplies_pairs && __is_same(S, bfloat16))
    if (call.product.pairs) return run_words<S, Pair>(call, first_unit, last_unit, scratch);
  run_words<S, Sum<S>>(call, first_unit, last_unit, scratch);
}
