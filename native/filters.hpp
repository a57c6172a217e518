// The maps T and C with a single row of sums (one channel in, one out): a filter for each channel.
// Time lies along the vector and sums go from the registers into the output: neither panel nor
// tile. Included inside the namespace of one instruction set.
//
// Each sample is the same sum in the same order as in product.hpp, which computes all other calls.
// blocks.cpp (is_filter) says which calls come here; run_units, product.hpp, sends back those that
// must leave out absent terms one by one.

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
  bool first;  // of its sum
  T bias;      // added behind the last run
};

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

// U vectors of frames. J = count mod most_slides, or most_slides; step is 1, or -1 if `falling`.
template <class T, int U, int J, bool falling>
static void slide_run(const FilterRun<T>& run, T* z) {
  typename Vec<T>::type sums[U] = {};
  for (i64 u = 0; u < run.rows; ++u) {
    const T *x = run.x + u * run.x_row, *w = run.w + u * run.w_row;
    for (i64 j = run.count; j > J; j -= most_slides, w += most_slides) {
      add_neighbours<T, U, most_slides, falling>(falling ? x - (most_slides - 1) : x, w, sums);
      x += falling ? -most_slides : most_slides;
    }
    add_neighbours<T, U, J, falling>(falling ? x - (J - 1) : x, w, sums);
  }
  end_filter_run<T, U>(run, sums, z);
}

// The same with any step.
template <class T, int U>
static void filter_run(const FilterRun<T>& run, T* z) {
  typename Vec<T>::type sums[U] = {};
  for (i64 u = 0; u < run.rows; ++u) {
    const T *x = run.x + u * run.x_row, *w = run.w + u * run.w_row;
    for (i64 j = 0; j < run.count; ++j, x += run.step) {
      const auto tap = broadcast(w[j]);
#pragma GCC unroll 8
      for (int v = 0; v < U; ++v) sums[v] += tap * load(x + v * Vec<T>::lanes);
    }
  }
  end_filter_run<T, U>(run, sums, z);
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
  if constexpr (slid_vectors(U) > 0)
    if (run.step == 1 || run.step == -1)
      return slides<T, U>.by_taps[run.step < 0][(run.count - 1) % most_slides](run, z);
  filter_run<T, U>(run, z);
}

// A channel of a block.
template <class S>
struct Filter {
  const Call<S>& call;
  const Sum<S>* weight;  // in the order of the sum
  const Sum<S>* frames;  // packed rows, at shift 0
  Sum<S> bias;
  const S* residual;  // or null
  S* target;
};

// U vectors of frames from frame f of the block on, with the bias.
template <class S, int U>
static inline void sum_filter(const Filter<S>& filter, i64 f, Sum<S>* z) {
  const Call<S>& call = filter.call;
  const i64 step = call.product.shift_frames, window = call.window;
  const Sum<S>*w = filter.weight, *x = filter.frames + f;
  const Sum<S>* const end = w + call.product.steps;
  for (const Segment& segment : call.product.segments) {
    const Runs runs(segment);
    for (i64 u = 0; u < segment.words; u += runs.channels)
      for (i64 j = 0; j < segment.shifts; j += runs.shifts) {
        const i64 rows = smaller(runs.channels, segment.words - u);
        const i64 count = smaller(runs.shifts, segment.shifts - j);
        const Sum<S>* taps = w + u * segment.shifts + j;
        const bool last = taps + (rows - 1) * segment.shifts + count == end;
        add_run<Sum<S>, U>({x + u * window + j * step, taps, rows, window, segment.shifts, count,
                            step, taps == filter.weight, last ? filter.bias : Sum<S>(0)},
                           z);
      }
    w += segment.words * segment.shifts;
    x += segment.words * window;
  }
}

// `count` frames, at most U vectors, from frame f of the block on.
template <class S, int U>
static inline void filter_frames(const Filter<S>& filter, i64 f, i64 count) {
  constexpr i64 lanes = Vec<S>::lanes;
  S* to = filter.target + f;
  const S* residual = filter.residual ? filter.residual + f : nullptr;
  if constexpr (!is_half<S>)
    if (!residual && count == U * lanes) return sum_filter<S, U>(filter, f, to);
  Sum<S> z[U * lanes];
  sum_filter<S, U>(filter, f, z);
  store_row<S>(z, 1, 0, false, residual, 1, to, 1, count);
}

template <class S>
static inline void filter_block(const Filter<S>& filter, i64 frames) {
  constexpr i64 lanes = Vec<S>::lanes, most = filter_vectors * lanes, few = most / 2;
  for (i64 f = 0; f < frames; f += most) {
    const i64 count = smaller(most, frames - f);
    if (count > few)
      filter_frames<S, filter_vectors>(filter, f, count);
    else if (count > lanes)
      filter_frames<S, filter_vectors / 2>(filter, f, count);
    else
      filter_frames<S, 1>(filter, f, count);
  }
}

template <class S>
static void run_filters(const Call<S>& call, i64 first_unit, i64 last_unit, Sum<S>* packed) {
  for (i64 index = first_unit; index < last_unit; ++index) {
    const Block block = block_of(call, index);
    pack_block(call, block, packed);
    const i64 at = block.first_frame + call.target_at.base;
    const auto place = [&](const auto& signal) {
      return signal.data + block.entry * signal.batch_stride + block.group * signal.channel_stride +
             at;
    };
    const Filter<S> filter{
        call,
        call.packed + block.group * call.packed_group + call.product.packed_offset,
        packed + window_back(call.product),
        call.bias ? widen(call.bias[block.group]) : Sum<S>(0),
        call.around.residual.data ? place(call.around.residual) : nullptr,
        place(call.target)};
    filter_block(filter, block.frames);
  }
}
