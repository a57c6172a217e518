// Signals into rows of words, as the tile reads them: extended past their ends, strided, widened or
// paired. Included inside the namespace of one instruction set.

// One channel of a signal, with the positions that are carried.
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

// Every `by`-th element from p on. Up to by - 1 elements past the last one are read.
template <class T, int by>
static inline typename Vec<T>::type load_strided(const T* p) {
  if constexpr (by == 1)
    return load(p);
  else if constexpr (by % 2 == 1) {
    typename Vec<T>::type r[by];
#pragma GCC unroll 8
    for (int v = 0; v < by; ++v) r[v] = load(p + v * Vec<T>::lanes);
    return put_every<by, 0, 1>(r[0], r);
  } else
    return shuffle<Unzip<false, 1>>(load_strided<T, by / 2>(p),
                                    load_strided<T, by / 2>(p + Vec<T>::lanes * by / 2));
}

// Calls `action` with a stride as a constant, where load_strided is worth it. Returns whether it
// is.
template <class Action>
static inline bool with_stride(i64 by, const Action& action) {
  switch (by) {
    case 1: action(Constant<1>{}); return true;
    case 2: action(Constant<2>{}); return true;
    case 3: action(Constant<3>{}); return true;
    case 4: action(Constant<4>{}); return true;
    case 5: action(Constant<5>{}); return true;
    case 6: action(Constant<6>{}); return true;
    case 7: action(Constant<7>{}); return true;
    case 8: action(Constant<8>{}); return true;
  }
  return false;
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

// Numbers that stay as they are stored.
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

static constexpr i64 few = 64;  // numbers that are copied without a call

// to[i] = from[i * step] for i in [0, count), of elements `position_stride` apart; `readable`
// positions follow.
template <class Into, class S, class W>
static void copy_stretch(const S* from, i64 position_stride, i64 step, i64 count, i64 readable,
                         W* to) {
  if (count == 1) {  // whose step may be beyond all integers
    to[0] = Into::put(to[0], from[0]);
    return;
  }
  const i64 by = step * position_stride;
  if constexpr (!is_half<S>)
    if (by == 1) {
      if (count <= few)
        copy_few(from, to, count);
      else
        __builtin_memcpy(to, from, static_cast<size_t>(count) * sizeof(S));
      return;
    }
  i64 i = 0;
  if (position_stride == 1)
    with_stride(by, [&](auto constant) {
      i = copy_strided<Into, S, decltype(constant)::value>(from, count, readable, to);
    });
  for (; i < count; ++i) to[i] = Into::put(to[i], from[i * by]);
}

// One channel of one batch entry of a signal, with the positions that are carried.
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
  // (Divisions would be most of what a short row costs.)
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
  if (low == high) return;  // the integers below may overflow
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

// The same of a vector of halves, which comes and goes as floats.
template <class S>
static inline Vec<float>::type bent_half(Vec<float>::type x, float negative_slope) {
  typedef Vec<float>::type V;
  const Bits above = reinterpret_cast<Bits>(x > 0);
  const Bits low = reinterpret_cast<Bits>(floats(S{}, nearest_halves(S{}, x * negative_slope)));
  return reinterpret_cast<V>((above & reinterpret_cast<Bits>(x)) | (~above & low));
}

// Leaky ReLU of a row of words. Halves go by whole vectors: the row has room for the last one.
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
