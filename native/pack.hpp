// Copying operands into the order in which the tile reads them. Included inside the namespace of
// one instruction set.

// One channel of a signal with what is carried of it.
template <class T>
struct Row {
  const T* data;
  i64 position_stride;
  const T* carried;
  i64 carried_stride, carried_length;

  T at(i64 position) const {
    return position < carried_length ? carried[position * carried_stride]
                                     : data[position * position_stride];
  }
};

// Every `by`-th element from p on, a power of two; up to by - 1 elements past the last are read.
template <class T, int by>
static inline typename Vec<T>::type load_strided(const T* p) {
  if constexpr (by == 1)
    return load(p);
  else
    return shuffle<Unzip<false, 1>>(load_strided<T, by / 2>(p),
                                    load_strided<T, by / 2>(p + Vec<T>::lanes * by / 2));
}

// What numbers become in a row of words: numbers of the type that they are computed in, or the
// first and then the second halves of pairs.
template <class S>
struct Widened {
  static Sum<S> zero(Sum<S>) { return 0; }
  static Sum<S> put(Sum<S>, S x) { return widen(x); }
  static typename Vec<S>::type put(typename Vec<S>::type, typename Vec<S>::type x) { return x; }
};
struct FirstHalves {
  static Pair zero(Pair) { return {0}; }
  static Pair put(Pair, bfloat16 x) { return {x.bits}; }
  static Bits put(Bits, Vec<float>::type x) { return reinterpret_cast<Bits>(x) >> 16; }
};
struct SecondHalves {
  static Pair zero(Pair word) { return word; }
  static Pair put(Pair word, bfloat16 x) { return {word.bits | std::uint32_t{x.bits} << 16}; }
  static Bits put(Bits words, Vec<float>::type x) { return words | reinterpret_cast<Bits>(x); }
};

// And numbers that stay as they are stored.
template <class S>
struct Kept {
  static S zero(S) { return {}; }
  static S put(S, S x) { return x; }
  static typename Vec<S>::type put(typename Vec<S>::type, typename Vec<S>::type x) { return x; }
};

// to[i] = from[i * by] for whole vectors of i that lie within `count` and read no more than
// `readable` elements; returns how many.
template <class Into, class S, int by, class W>
static inline i64 copy_strided(const S* from, i64 count, i64 readable, W* to) {
  constexpr i64 lanes = Vec<S>::lanes;
  i64 i = 0;
  for (; i + lanes <= count && (i + lanes) * by <= readable; i += lanes)
    store(to + i, Into::put(load(to + i), load_strided<S, by>(from + i * by)));
  return i;
}

// to[i] = from[i * step] for i in [0, count), of elements `position_stride` apart; `readable`
// positions follow.
template <class Into, class S, class W>
static void copy_stretch(const S* from, i64 position_stride, i64 step, i64 count, i64 readable,
                         W* to) {
  const i64 by = step * position_stride;
  if constexpr (!is_half<S>)
    if (by == 1) {
      __builtin_memcpy(to, from, static_cast<size_t>(count) * sizeof(S));
      return;
    }
  i64 i = 0;
  if (position_stride == 1) switch (by) {
      case 1: i = copy_strided<Into, S, 1>(from, count, readable, to); break;
      case 2: i = copy_strided<Into, S, 2>(from, count, readable, to); break;
      case 4: i = copy_strided<Into, S, 4>(from, count, readable, to); break;
      case 8: i = copy_strided<Into, S, 8>(from, count, readable, to); break;
    }
  for (; i < count; ++i) to[i] = Into::put(to[i], from[i * by]);
}

// Row (batch entry, channel) of a signal and of what is carried of it.
template <class S>
static inline Row<S> row_of(const Signal<const S>& signal, const Carried<S>& carried, i64 entry,
                            i64 channel) {
  const S* before = carried.data;
  if (before) before += entry * carried.batch_stride + channel * carried.channel_stride;
  return {signal.data + entry * signal.batch_stride + channel * signal.channel_stride,
          signal.position_stride, before, carried.position_stride, carried.length};
}

// destination[i] = signal[start + i * step] for i in [0, count), extended at both ends, then zeros
// up to `padded`.
template <class Into, class S, class W>
static void copy_row(const Row<S>& signal, i64 length, i64 start, i64 step, i64 count, i64 padded,
                     Extension extension, W* destination) {
  const auto clear = [&](i64 from, i64 to) {
    for (i64 i = from; i < to; ++i) destination[i] = Into::zero(destination[i]);
  };
  clear(count, padded);
  // Divisions are most of what a short row costs.
  const auto up = [&](i64 distance) { return step == 1 ? distance : ceil_div(distance, step); };
  const i64 low = smaller(larger(up(-start), 0), count);
  const i64 high = smaller(larger(up(length - start), low), count);
  const auto extend = [&](i64 from, i64 to) {
    if (extension == zeros) return clear(from, to);
    for (i64 i = from; i < to; ++i)
      destination[i] =
          Into::put(destination[i], signal.at(source_frame(start + i * step, length, extension)));
  };
  extend(0, low);
  extend(high, count);
  if (low == high) return;  // its position may be beyond all integers
  const i64 first = start + low * step;
  const i64 own = larger(low, smaller(up(signal.carried_length - start), high));
  if (low < own)
    copy_stretch<Into>(signal.carried + first * signal.carried_stride, signal.carried_stride, step,
                       own - low, signal.carried_length - first, destination + low);
  if (own < high) {
    const i64 position = start + own * step;
    copy_stretch<Into>(signal.data + position * signal.position_stride, signal.position_stride,
                       step, high - own, length - position, destination + own);
  }
}

// Leaky ReLU of a number, or of a vector of them, that is stored as S.
template <class S>
static inline Sum<S> bent(Sum<S> x, Sum<S> negative_slope) {
  return x > 0 ? x : widen<S>(nearest_of<S>(x * negative_slope));
}

// The same of vectors of halves, widened.
template <class S>
static inline Vec<float>::type bent_half(Vec<float>::type x, float negative_slope) {
  typedef Vec<float>::type V;
  const Bits above = reinterpret_cast<Bits>(x > 0);
  const Bits low = reinterpret_cast<Bits>(floats(S{}, nearest_halves(S{}, x * negative_slope)));
  return reinterpret_cast<V>((above & reinterpret_cast<Bits>(x)) | (~above & low));
}

// Of a row of words, in whole vectors, which a row has.
template <class S>
static inline void bend(Sum<S>* values, i64 count, Sum<S> negative_slope) {
  if constexpr (is_half<S>)
    for (i64 i = 0; i < count; i += Vec<S>::lanes)
      store(values + i, bent_half<S>(load(values + i), negative_slope));
  else
    for (i64 i = 0; i < count; ++i) values[i] = bent<S>(values[i], negative_slope);
}

template <class S>
static inline void bend(Pair* values, i64 count, float negative_slope) {
  for (i64 i = 0; i < count; i += Vec<Pair>::lanes) {
    Vec<float>::type first, second;
    load_alternating(reinterpret_cast<const bfloat16*>(values + i), first, second);
    first = bent_half<S>(first, negative_slope);
    second = bent_half<S>(second, negative_slope);
    store(values + i, SecondHalves::put(FirstHalves::put(Bits{}, first), second));
  }
}

template <class S>
static bool all_finite(const S* values, i64 count) {
  // x - x is 0 for every finite x and NaN for the others.
  typedef typename Vec<S>::type V;
  constexpr i64 lanes = Vec<S>::lanes;
  V sums[4] = {};
  i64 i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes)
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      const V x = load(values + i + v * lanes);
      sums[v] += x - x;
    }
  const V all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  Sum<S> sum = 0;
  for (i64 lane = 0; lane < lanes; ++lane) sum += all[lane];
  for (; i < count; ++i) sum += widen(values[i]) - widen(values[i]);
  return sum == 0;
}

// Pieces of neighbouring elements, copied from one order into another: three nested loops over
// pieces, each with its steps in elements. What is `ahead` of a piece is fetched. Halves become
// what they are computed with, if that is where they go.
struct Loop {
  i64 count, from, to;
};
struct Loops {
  Loop outer, middle, inner;
  i64 ahead = 0;
};

template <class From, class To, class Copy>
static inline void each_piece(const From* from, To* to, const Loops& loops, const Copy& copy) {
  const Loop &outer = loops.outer, &middle = loops.middle, &inner = loops.inner;
  for (i64 i = 0; i < outer.count; ++i)
    for (i64 j = 0; j < middle.count; ++j) {
      const From* f = from + i * outer.from + j * middle.from;
      To* t = to + i * outer.to + j * middle.to;
      for (i64 p = 0; p < inner.count; ++p, f += inner.from, t += inner.to) {
        __builtin_prefetch(f + loops.ahead);
        copy(f, t);
      }
    }
}

template <class From, class To>
static inline void copy_piece(const From* from, To* to, i64 length) {
  if constexpr (__is_same(From, To))
    __builtin_memcpy(to, from, static_cast<size_t>(length) * sizeof(To));
  else
    for (i64 i = 0; i < length; ++i) to[i] = widen(from[i]);
}

// With N constant a copy is a load and a store.
template <class From, class To, int N>
static void copy_pieces_of(const From* from, To* to, const Loops& loops) {
  each_piece(from, to, loops, [](const From* f, To* t) { copy_piece(f, t, N); });
}

template <class From, class To>
struct PieceTable {
  static constexpr int longest = 16;
  void (*by_length[longest])(const From*, To*, const Loops&);
};

template <class From, class To, int N>
static constexpr void fill_pieces(PieceTable<From, To>& table) {
  table.by_length[N - 1] = copy_pieces_of<From, To, N>;
  if constexpr (N > 1) fill_pieces<From, To, N - 1>(table);
}

template <class From, class To>
static constexpr PieceTable<From, To> make_pieces() {
  PieceTable<From, To> table{};
  fill_pieces<From, To, table.longest>(table);
  return table;
}

template <class From, class To>
static constexpr PieceTable<From, To> piece_table = make_pieces<From, To>();

template <class From, class To>
static inline void copy_pieces(i64 length, const From* from, To* to, const Loops& loops) {
  if (length <= PieceTable<From, To>::longest)
    piece_table<From, To>.by_length[length - 1](from, to, loops);
  else
    each_piece(from, to, loops, [length](const From* f, To* t) { copy_piece(f, t, length); });
}

// Where the weights of one summed channel and tap stand in a panel of C, tap by tap: neighbouring
// taps are of neighbouring phases, as long as these have the same number of taps.
struct Steps {
  const Product& product;
  i64 channel = 0, tap = 0, step = 0, by = 0, left = 0;

  explicit Steps(const Product& p) : product(p) { begin(); }

  i64 next() {
    const i64 here = step;
    step += by;
    ++tap;
    if (--left == 0) begin();
    return here;
  }

 private:
  void begin() {
    if (tap == product.weight_channel) {
      tap = 0;
      ++channel;
    }
    const Segment& most = product.segments[0];
    const Segment& fewer = product.segments[1];
    const i64 phase = tap % product.weight_shift, j = tap / product.weight_shift;
    const i64 rest = product.weight_channel - tap;
    if (phase < most.axis.phases) {
      by = most.shifts;
      step = (channel * most.axis.phases + phase) * by + j;
      left = smaller(most.axis.phases - phase, rest);
    } else {
      by = fewer.shifts;
      step = most.axis.channels * most.axis.phases * most.shifts +
             (channel * fewer.axis.phases + phase - most.axis.phases) * by + j;
      left = smaller(product.weight_shift - phase, rest);
    }
  }
};

// A panel of C is the weight transposed: a vector of rows at a time, whose taps are read in order.
template <class S>
static void transpose_panel(const Product& p, const S* weight, i64 rows, Sum<S>* out) {
  typedef typename Vec<S>::type V;
  constexpr i64 lanes = Vec<S>::lanes;
  const i64 terms = p.weight_row;  // (channel, tap) of one row, contiguous
  for (i64 row = 0; row < p.step_stride; row += lanes) {
    const i64 filled = smaller(lanes, rows - row);
    Steps steps(p);
    i64 q = 0;
    if (filled == lanes)
      for (; q + lanes <= terms; q += lanes) {
        V r[lanes];
#pragma GCC unroll 16
        for (i64 i = 0; i < lanes; ++i) r[i] = load(weight + (row + i) * p.weight_row + q);
        transpose<Sum<S>>(r);
#pragma GCC unroll 16
        for (i64 i = 0; i < lanes; ++i) store(out + steps.next() * p.step_stride + row, r[i]);
      }
    for (; q < terms; ++q) {
      Sum<S>* to = out + steps.next() * p.step_stride + row;
      for (i64 i = 0; i < lanes; ++i)
        to[i] = i < filled ? widen(weight[(row + i) * p.weight_row + q]) : 0;
    }
  }
}

// Rows whose phases have two taps each and nothing between them: the two alternate in memory.
template <class S, int phases>
static void unzip_panel(const Product& p, const S* weight, i64 rows, Sum<S>* out) {
  constexpr i64 lanes = Vec<S>::lanes;
  if constexpr (2 * phases <= lanes)
    for (i64 u = 0; u < p.segments[0].axis.channels; ++u, out += 2 * p.step_stride)
      for (i64 r = 0; r < rows; r += lanes) {
        const S* from = weight + u * p.weight_channel + 2 * r;
        const auto low = load(from), high = load(from + lanes);
        __builtin_prefetch(from + 16 * p.weight_channel);
        __builtin_prefetch(from + 16 * p.weight_channel + lanes);
        store(out + r, shuffle<Unzip<false, phases>>(low, high));
        store(out + p.step_stride + r, shuffle<Unzip<true, phases>>(low, high));
      }
}

// A panel of T: rows are output channels and phases, and neighbouring phases are neighbouring taps.
template <class S>
static void gather_panel(const Product& p, const S* weight, i64 first_row, i64 rows, Sum<S>* out) {
  const Axis& axis = p.rows;
  const Segment& segment = p.segments[0];
  constexpr i64 lanes = Vec<S>::lanes;
  const i64 terms = segment.axis.channels * segment.axis.phases * segment.shifts;
  for (i64 term = 0; rows < p.step_stride && term < terms; ++term)
    for (i64 r = rows; r < p.step_stride; ++r) out[term * p.step_stride + r] = 0;
  if (segment.shifts == 2 && 2 * axis.phases == p.weight_row && p.weight_shift == axis.phases &&
      2 * axis.phases <= lanes && rows % lanes == 0) {
    const S* from = weight + first_row * 2;
    switch (axis.phases) {
      case 1: return unzip_panel<S, 1>(p, from, rows, out);
      case 2: return unzip_panel<S, 2>(p, from, rows, out);
      case 4: return unzip_panel<S, 4>(p, from, rows, out);
      case 8: return unzip_panel<S, 8>(p, from, rows, out);
    }
  }
  const Loop channels{segment.axis.channels, p.weight_channel, segment.shifts * p.step_stride};
  const Loop shifts{segment.shifts, p.weight_shift, p.step_stride};
  // Whole channels in the middle; of the first and of the last one maybe a part.
  i64 row = 0;
  while (row < rows) {
    const i64 channel = (first_row + row) / axis.phases, phase = (first_row + row) % axis.phases;
    const i64 length = smaller(axis.phases - phase, rows - row);
    const i64 count = length == axis.phases ? (rows - row) / length : 1;
    copy_pieces(length, weight + channel * p.weight_row + axis.first_phase + phase, out + row,
                {channels, shifts, {count, p.weight_row, length}, 16 * p.weight_channel});
    row += count * length;
  }
}

// One panel of one group: packed[(segment, u, j)][row in panel]. The rows that fill up the last
// panel are zero and never stored.
template <class S>
static void pack_panel(const Product& p, const S* weight, i64 panel, Sum<S>* out) {
  constexpr i64 width = panel_vectors * Vec<S>::lanes;
  const i64 first = panel * width;
  const i64 rows = smaller(width, p.rows.channels * p.rows.phases - first);
  if (p.transposed)
    transpose_panel(p, weight + first * p.weight_row, rows, out);
  else
    gather_panel(p, weight, first, rows, out);
}

// The panel of neighbouring u in pairs, of one where each u has a word of its own.
static void pair_up(const Product& p, const float* single, Pair* out) {
  constexpr i64 lanes = Vec<Pair>::lanes;
  for (const Segment& segment : p.segments) {
    const i64 channels = segment.axis.channels * segment.axis.phases;
    const i64 size = segment.shifts * p.step_stride;  // of all j of one u: whole vectors
    for (i64 u = 0; u < channels; u += 2, out += size)
      for (i64 i = 0; i < size; i += lanes) {
        const Bits first = FirstHalves::put(Bits{}, load(single + u * size + i));
        store(out + i, u + 1 < channels
                           ? SecondHalves::put(first, load(single + (u + 1) * size + i))
                           : first);
      }
    single += channels * size;
  }
}

// What is packed before it is put into pairs: a panel of single terms.
static i64 pack_scratch(const Product& p) {
  if (!p.pairs) return 0;
  i64 terms = 0;
  for (const Segment& s : p.segments) terms += s.axis.channels * s.axis.phases * s.shifts;
  return terms * p.step_stride;
}

// A panel as it is multiplied with, by way of `scratch`; whether its weights are all finite, if
// anybody asks.
template <class S>
static bool pack_words(const Product& p, const S* weight, i64 panel, Sum<S>* out, Sum<S>* scratch,
                       bool asked = false) {
  if constexpr (__is_same(S, bfloat16))
    if (p.pairs) {
      pack_panel(p, weight, panel, scratch);
      pair_up(p, scratch, reinterpret_cast<Pair*>(out));
      return !asked || all_finite(scratch, pack_scratch(p));
    }
  pack_panel(p, weight, panel, out);
  return !asked || all_finite(out, p.panel_stride);
}

template <class S>
static void pack_panels(const Product& p, const S* weight, Sum<S>* packed, i64 first, i64 last,
                        Sum<S>* scratch) {
  for (i64 panel = first; panel < last; ++panel)
    pack_words(p, weight, panel, packed + p.packed_offset + panel * p.panel_stride, scratch);
}
