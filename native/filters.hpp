// The maps T and C with a single row of sums (one channel in, one out): a filter for each channel.
// Time lies along the vector and sums go from the registers into the output: neither panel nor
// tile. Included inside the namespace of one instruction set.
//
// Each sample is the same sum in the same order as in product.hpp, which computes all other calls.
// blocks.cpp (is_filter) says which calls come here, except those that must leave out absent terms
// one by one.

// Vectors of frames whose sums are made at a time.
static constexpr int filter_vectors = 8;

// A load that straddles two cache lines takes twice as long, and with one channel there is a load
// for every multiply-add. With vectors of a whole cache line nearly all loads straddle: of each
// `filter_vectors`, so many are put together from two vectors that are in registers instead, which
// keeps both kinds of unit busy.
static constexpr int slid_vectors(int vectors) {
#if defined(FS_SLIDES)
  return vectors * 5 / 8;
#else
  return 0 * vectors;
#endif
}
static constexpr int most_slides = 8;  // taps that are added from the same registers
static constexpr i64 line_bytes = 64;  // of a cache

// Adds taps i to J - 1 of J neighbouring ones. `x` is where the lowest of them reads; r are the
// vectors from there on.
template <class T, int U, int J, bool falling, int i>
[[gnu::always_inline]] static inline void add_slid(const T* x, const T* w,
                                                   const typename Vec<T>::type* r,
                                                   typename Vec<T>::type (&sums)[U]) {
  if constexpr (i < J) {
    constexpr int slid = slid_vectors(U), lanes = Vec<T>::lanes, j = falling ? J - 1 - i : i;
    const auto tap = broadcast(w[i]);
#pragma GCC unroll 8
    for (int v = 0; v < U; ++v) {
      if (v < slid)
        sums[v] += tap * (j == 0 ? r[v] : slide<j>(r[v], r[v + 1]));
      else
        sums[v] += tap * load(x + j + v * lanes);
    }
    add_slid<T, U, J, falling, i + 1>(x, w, r, sums);
  }
}

template <class T, int U, int J, bool falling>
[[gnu::always_inline]] static inline void add_neighbours(const T* x, const T* w,
                                                         typename Vec<T>::type (&sums)[U]) {
  constexpr int slid = slid_vectors(U);
  typename Vec<T>::type r[slid + 1];
#pragma GCC unroll 8
  for (int v = 0; v <= slid; ++v) r[v] = in_register(load(x + v * Vec<T>::lanes));
  add_slid<T, U, J, falling, 0>(x, w, r, sums);
}

// One run of the sum: `count` shifts, `step` frames apart, of each of several packed rows. Those of
// row u are read from x + u * x_row on.
template <class T>
struct FilterRun {
  const T *x, *w;
  i64 rows, x_row, w_row, count, step;
  bool first;         // of its sum
  T bias;             // added behind the last run
  i64 groups;         // of vectors of frames, one behind the other
  const char* fetch;  // what the next blocks read: each group fetches some lines of it
  i64 lines;
};

template <class T>
static inline void fetch_lines(const FilterRun<T>& run, i64 group) {
  const char* line = run.fetch + group * run.lines * line_bytes;
  for (i64 i = 0; i < run.lines; ++i, line += line_bytes) __builtin_prefetch(line);
}

// The vectors of sums are added to z, as `tile` does it.
template <class T, int U>
static inline void end_filter_run(const FilterRun<T>& run, const typename Vec<T>::type (&sums)[U],
                                  T* z) {
  typedef typename Vec<T>::type V;
  const V bias = broadcast(run.bias);
  const bool first = run.first;
#pragma GCC unroll 8
  for (int v = 0; v < U; ++v) {
    T* p = z + v * Vec<T>::lanes;
    store(p, (first ? V{} : load(p)) + sums[v] + bias);
  }
}

// Groups of U vectors of frames. J = count mod most_slides, or most_slides; step is 1, or -1 if
// `falling`.
template <class T, int U, int J, bool falling>
static void slide_run(const FilterRun<T>& run, T* z) {
  constexpr i64 group = U * Vec<T>::lanes;
  for (i64 g = 0; g < run.groups; ++g, z += group) {
    fetch_lines(run, g);
    typename Vec<T>::type sums[U] = {};
    for (i64 u = 0; u < run.rows; ++u) {
      const T *x = run.x + u * run.x_row + g * group, *w = run.w + u * run.w_row;
      for (i64 j = run.count; j > J; j -= most_slides, w += most_slides) {
        add_neighbours<T, U, most_slides, falling>(falling ? x - (most_slides - 1) : x, w, sums);
        x += falling ? -most_slides : most_slides;
      }
      add_neighbours<T, U, J, falling>(falling ? x - (J - 1) : x, w, sums);
    }
    end_filter_run<T, U>(run, sums, z);
  }
}

// The same with any step.
template <class T, int U>
static void filter_run(const FilterRun<T>& run, T* z) {
  constexpr i64 group = U * Vec<T>::lanes;
  for (i64 g = 0; g < run.groups; ++g, z += group) {
    fetch_lines(run, g);
    typename Vec<T>::type sums[U] = {};
    for (i64 u = 0; u < run.rows; ++u) {
      const T *x = run.x + u * run.x_row + g * group, *w = run.w + u * run.w_row;
      for (i64 j = 0; j < run.count; ++j, x += run.step) {
        const auto tap = broadcast(w[j]);
#pragma GCC unroll 8
        for (int v = 0; v < U; ++v) sums[v] += tap * load(x + v * Vec<T>::lanes);
      }
    }
    end_filter_run<T, U>(run, sums, z);
  }
}

// by_taps[falling][J - 1]
template <class T>
struct SlideTable {
  void (*by_taps[2][most_slides])(const FilterRun<T>&, T*);
};

template <class T, int U, int J>
static constexpr void fill_slides(SlideTable<T>& table) {
  table.by_taps[0][J - 1] = slide_run<T, U, J, false>;
  table.by_taps[1][J - 1] = slide_run<T, U, J, true>;
  if constexpr (J > 1) fill_slides<T, U, J - 1>(table);
}

template <class T, int U>
static constexpr SlideTable<T> make_slides() {
  SlideTable<T> table{};
  fill_slides<T, U, most_slides>(table);
  return table;
}

template <class T, int U>
static constexpr SlideTable<T> slides = make_slides<T, U>();

template <class T, int U>
static inline void add_run(const FilterRun<T>& run, T* z) {
  if constexpr (U >= filter_vectors / 2 && slid_vectors(U) > 0)
    if (run.step == 1 || run.step == -1)
      return slides<T, U>.by_taps[run.step < 0][(run.count - 1) % most_slides](run, z);
  filter_run<T, U>(run, z);
}

// (Filters add zeros for absent frames.)
template <class S>
static bool is_run_as_filter(const Call<S>& call) {
  return call.filter && !call.skip_absent;
}

// A channel of a block.
template <class S>
struct Filter {
  const Call<S>& call;
  const Runs (&runs)[2];  // of the segments
  bool one_run;           // whether a sum is a single run
  const Sum<S>* weight;   // in the order of the sum
  const Sum<S>* frames;   // packed rows, at shift 0
  Sum<S> bias;
  const char* fetch;  // what the next blocks read
  i64 lines;          // of it, for each group of filter_vectors
};

// `groups` times U vectors of frames from frame f of the block on, with the bias.
template <class S, int U>
static inline void sum_filter(const Filter<S>& filter, i64 f, i64 groups, Sum<S>* z) {
  const Call<S>& call = filter.call;
  const Product& p = call.product;
  const Sum<S>*w = filter.weight, *x = filter.frames + f;
  FilterRun<Sum<S>> run{x,
                        w,
                        p.segments[0].words,
                        call.window,
                        p.segments[0].shifts,
                        p.segments[0].shifts,
                        p.shift_frames,
                        true,
                        filter.bias,
                        groups,
                        filter.fetch,
                        U == filter_vectors ? filter.lines : 0};
  if (filter.one_run) return add_run<Sum<S>, U>(run, z);
  const Sum<S>* const end = w + p.steps;
  for (int i = 0; i < 2; ++i) {
    const Segment& segment = p.segments[i];
    const Runs& runs = filter.runs[i];
    run.w_row = segment.shifts;
    for (i64 u = 0; u < segment.words; u += runs.channels)
      for (i64 j = 0; j < segment.shifts; j += runs.shifts) {
        run.x = x + u * call.window + j * p.shift_frames;
        run.w = w + u * segment.shifts + j;
        run.rows = smaller(runs.channels, segment.words - u);
        run.count = smaller(runs.shifts, segment.shifts - j);
        const bool last = run.w + (run.rows - 1) * segment.shifts + run.count == end;
        run.bias = last ? filter.bias : Sum<S>(0);
        add_run<Sum<S>, U>(run, z);
        run.first = false;
        run.lines = 0;
      }
    w += segment.words * segment.shifts;
    x += segment.words * call.window;
  }
}

// The first frames of a block: whole vectors, or at least one and sums of one run. Then some may be
// computed twice, the same numbers in the same places.
template <class S>
static inline void sum_frames(const Filter<S>& filter, i64 frames, Sum<S>* z) {
  constexpr i64 lanes = Vec<S>::lanes, most = filter_vectors * lanes, half = most / 2;
  constexpr i64 many = most - 2 * lanes;  // above which there are fewer vectors in one group
  const i64 groups = frames / most;
  if (groups) sum_filter<S, filter_vectors>(filter, 0, groups, z);
  i64 f = groups * most;
  while (f < frames) {
    const i64 rest = frames - f;
    const auto group = [&](auto vectors) {
      constexpr i64 size = decltype(vectors)::value * lanes;
      const i64 at = smaller(f, frames - size);
      sum_filter<S, decltype(vectors)::value>(filter, at, 1, z + at);
      f = at + size;
    };
    if (filter.one_run && rest > many && frames >= most)
      group(Constant<filter_vectors>{});
    else if (rest >= half || (filter.one_run && rest > lanes && frames >= half))
      group(Constant<filter_vectors / 2>{});
    else if (rest >= 2 * lanes || (filter.one_run && rest > lanes && frames >= 2 * lanes))
      group(Constant<2>{});
    else
      group(Constant<1>{});
  }
}

// Has the sums of a block fetch what the rows of another one are packed from.
template <class S>
static inline void fetch_signal(const FilterRows<S>& rows, i64 frames, Filter<S>& filter) {
  const i64 bytes = rows.count * rows.by * static_cast<i64>(sizeof(S));
  const i64 groups = larger(frames / (filter_vectors * i64{Vec<S>::lanes}), 1);
  filter.fetch = reinterpret_cast<const char*>(rows.signal + larger(rows.start, 0));
  filter.lines = divide_up(divide_up(bytes, line_bytes), groups);
}

// Computes and stores a block whose rows are packed. `z` has room for its sums, in whole vectors.
template <class S>
static inline void filter_block(const Call<S>& call, const Block& block, const Filter<S>& filter,
                                Sum<S>* z) {
  constexpr i64 lanes = Vec<S>::lanes;
  const i64 at = block.first_frame + call.target_at.base, frames = block.frames;
  const auto place = [&](const auto& signal) {
    return signal.data + block.entry * signal.batch_stride + block.group * signal.channel_stride +
           at * signal.position_stride;
  };
  S* const target = place(call.target);
  const S* const residual = call.around.residual.data ? place(call.around.residual) : nullptr;
  const i64 exact = filter.one_run && frames >= lanes ? frames : frames / lanes * lanes;
  if constexpr (!is_half<S>)
    if (!residual && call.target.position_stride == 1) {
      sum_frames(filter, exact, target);
      if (exact == frames) return;
      sum_filter<S, 1>(filter, exact, 1, z);
      copy_few(z, target + exact, frames - exact);
      return;
    }
  sum_frames(filter, exact == frames ? frames : round_up(frames, lanes), z);
  store_row<S>(z, 1, 0, false, residual, 1, target, call.target.position_stride, frames);
}

template <class S>
static inline Filter<S> filter_of(const Call<S>& call, const Runs (&runs)[2], const Block& block,
                                  const Sum<S>* packed) {
  const Segment* segments = call.product.segments;
  return {call,
          runs,
          segments[1].words == 0 && segments[0].words <= runs[0].channels &&
              segments[0].shifts <= runs[0].shifts,
          call.packed + block.group * call.packed_group + call.product.packed_offset,
          packed + window_back(call.product),
          call.bias ? widen(call.bias[block.group]) : Sum<S>(0),
          nullptr,
          0};
}

// Where the parts of a thread's scratch memory begin, in elements: the packed rows of two blocks,
// and the sums of one.
struct FilterSpace {
  i64 rows[2], sums, end;
};

template <class S>
static FilterSpace filter_space_of(const Call<S>& call) {
  const Segment* segments = call.product.segments;
  const i64 rows = (segments[0].words + segments[1].words) * call.window;
  return {{0, rows}, 2 * rows, 2 * rows + round_up(call.block_frames, Vec<S>::lanes)};
}

template <class S>
static void run_filters(const Call<S>& call, i64 first_unit, i64 last_unit, Sum<S>* scratch) {
  if (first_unit >= last_unit) return;
  const FilterSpace space = filter_space_of(call);
  const Segment* segments = call.product.segments;
  const Runs runs[2]{Runs(segments[0]), Runs(segments[1])};
  if (!has_filter_rows(call)) {
    for (i64 index = first_unit; index < last_unit; ++index) {
      const Block block = block_of(call, index);
      pack_block(call, block, scratch);
      filter_block(call, block, filter_of(call, runs, block, scratch), scratch + space.sums);
    }
    return;
  }
  // The rows of a block are packed before the sums of the block before it are made: a load that
  // straddles two stores has to wait until both are in the cache. Meanwhile the signal of the block
  // after it is fetched.
  struct Work {
    Block block;
    FilterRows<S> rows;
  };
  const auto work_of = [&](i64 index) {
    const Block block = block_of(call, smaller(index, last_unit - 1));
    return Work{block, rows_of(call, block, scratch + space.rows[(index - first_unit) % 2])};
  };
  Work next = work_of(first_unit), after = work_of(first_unit + 1);
  pack_rows(next.rows);
  for (i64 index = first_unit; index < last_unit; ++index) {
    const Work work = next;
    next = after;
    after = work_of(index + 2);
    if (index + 1 < last_unit) pack_rows(next.rows);
    Filter<S> filter = filter_of(call, runs, work.block, work.rows.packed);
    fetch_signal(after.rows, work.block.frames, filter);
    filter_block(call, work.block, filter, scratch + space.sums);
  }
}
