// Packed rows of a filter, which filters.hpp reads: one for each phase of the stride. Included
// inside the namespace of one instruction set.

// `by` vectors from p on, split into those of each phase.
template <class S, int by>
static inline void load_split(const S* p, typename Vec<S>::type (&r)[by]) {
  typedef typename Vec<S>::type V;
  constexpr i64 lanes = Vec<S>::lanes;
  if constexpr (__is_same(S, bfloat16) && by % 2 == 0) {
    V even[by / 2], odd[by / 2];
#pragma GCC unroll 4
    for (int v = 0; v < by / 2; ++v) load_alternating(p + 2 * v * lanes, even[v], odd[v]);
    split<float, by / 2>(even);
    split<float, by / 2>(odd);
#pragma GCC unroll 4
    for (int v = 0; v < by / 2; ++v) {
      r[2 * v] = even[v];
      r[2 * v + 1] = odd[v];
    }
  } else {
#pragma GCC unroll 8
    for (int v = 0; v < by; ++v) r[v] = load(p + v * lanes);
    split<Sum<S>, by>(r);
  }
}

// The rows of a block as they are packed: element i of row q is position start + i * by + q.
template <class S>
struct FilterRows {
  const S* signal;  // position 0
  i64 length, start, phases;
  Extension extension;
  i64 by, row, count;  // elements from one row to the next, and of each
  Sum<S> negative_slope;
  Sum<S>* packed;
};

// Elements [first, last) of all rows, one by one.
template <class S>
static inline void pack_elements(const FilterRows<S>& rows, i64 first, i64 last) {
  const S* const signal = rows.signal;
  const i64 length = rows.length, by = rows.by;
  const Extension extension = rows.extension;
  for (i64 q = 0; q < rows.phases; ++q) {
    Sum<S>* const to = rows.packed + q * rows.row;
    i64 position = rows.start + first * by + q;
    for (i64 i = first; i < last; ++i, position += by) {
      const i64 frame = source_frame(position, length, extension);
      to[i] = frame < 0 ? Sum<S>(0) : widen(signal[frame]);
    }
  }
}

// The same, all of whose positions exist, by vectors: at least one. They are aligned but for the
// first and the last one, which write some elements that their neighbours write too.
template <class S, int by>
static inline void pack_vectors(const FilterRows<S>& rows, i64 first, i64 last) {
  constexpr i64 lanes = Vec<S>::lanes;
  const S* const from = rows.signal + rows.start;
  const i64 row = rows.row, phases = rows.phases;
  Sum<S>* const packed = rows.packed;
  const auto pack = [&](i64 at) {
    typename Vec<S>::type r[by];
    load_split<S, by>(from + at * by, r);
    Sum<S>* to = packed + at;
#pragma GCC unroll 8
    for (int q = 0; q < by; ++q, to += row)
      if (q < phases) store(to, r[q]);
  };
  pack(first);
  i64 i = first - first % lanes + lanes;
  for (; i + lanes <= last; i += lanes) pack(i);
  if (i < last) pack(last - lanes);
}

template <class S>
static inline void pack_rows(const FilterRows<S>& rows) {
  const i64 by = rows.by, count = rows.count;
  // (Divisions would be most of what a short row costs.)
  const i64 before = by == 1 ? -rows.start : ceil_div(-rows.start, by);
  const i64 within = rows.length - rows.start;
  const i64 low = smaller(larger(before, 0), count);
  const i64 high = smaller(larger(by == 1 ? within : floor_div(within, by), low), count);
  if (high - low < Vec<S>::lanes) {
    pack_elements(rows, 0, count);
  } else {
    pack_elements(rows, 0, low);
    with_stride(
        by, [&](auto constant) { pack_vectors<S, decltype(constant)::value>(rows, low, high); });
    pack_elements(rows, high, count);
  }
  if (rows.negative_slope != 1)
    for (i64 q = 0; q < rows.phases; ++q)
      bend<S>(rows.packed + q * rows.row, count, rows.negative_slope);
  // A last vector that is not full reads further. (What is there by chance may be a number below
  // 2**-126, which takes a hundred times as long.)
  for (i64 q = 0; q < rows.phases; ++q)
    store(rows.packed + q * rows.row + count, typename Vec<Sum<S>>::type{});
}

// Whether the rows of a call are packed so; otherwise pack_block packs them.
template <class S>
static inline bool has_filter_rows(const Call<S>& call) {
  const Positions& at = call.source_at;
  return call.source.position_stride == 1 && !call.carried.data && at.frame <= 8 &&
         (at.frame == 1 || at.phase_step == 1);
}

template <class S>
static inline FilterRows<S> rows_of(const Call<S>& call, const Block& block, Sum<S>* packed) {
  const Positions& at = call.source_at;
  const Segment* segments = call.product.segments;
  const Signal<const S>& source = call.source;
  return {source.data + block.entry * source.batch_stride + block.group * source.channel_stride,
          source.length,
          (block.first_frame - window_back(call.product)) * at.frame + at.base,
          segments[0].words + segments[1].words,
          call.extension,
          at.frame,
          call.window,
          block.frames + window_reach(call.product),
          call.around.negative_slope,
          packed};
}
