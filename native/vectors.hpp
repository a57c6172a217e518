// Vectors of the instruction set that this translation unit is compiled for, through the vector
// types of GCC and Clang: the same source for SSE2, AVX2, AVX-512 and NEON.
// Included inside the namespace of one instruction set.

// Whether a vector slides over two others by one instruction.
#if defined(__AVX512F__) && FS_VECTOR_BYTES == 64
#define FS_SLIDES
#endif

template <int N>
struct Constant {
  static constexpr int value = N;
  constexpr operator int() const { return N; }
};

template <class T>
struct Vec {
  static constexpr int lanes = FS_VECTOR_BYTES / sizeof(T);
  // Values, and what they are in memory: aligned like a float, so that loads and stores may stand
  // anywhere, also where two floats are moved like one double.
  typedef T type __attribute__((vector_size(FS_VECTOR_BYTES)));
  typedef T memory __attribute__((vector_size(FS_VECTOR_BYTES), aligned(4), may_alias));
};

template <class T>
static inline typename Vec<T>::type load(const T* p) {
  return *reinterpret_cast<const typename Vec<T>::memory*>(p);
}

template <class T>
static inline void store(T* p, typename Vec<T>::type v) {
  *reinterpret_cast<typename Vec<T>::memory*>(p) = v;
}

// Keeps a value in a register. A compiler that knows that memory holds the same value may load it
// again for each use, which costs more where loads are the bottleneck.
template <class V>
static inline V in_register(V value) {
#if defined(__x86_64__)
  asm("" : "+v"(value));
#elif defined(__aarch64__)
  asm("" : "+w"(value));
#endif
  return value;
}

// Shuffles of two vectors by constant positions. GCC has Clang's builtin from version 12 on.
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define FS_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#endif
#endif
#ifndef FS_SHUFFLE
template <int bytes>
struct Index;
template <>
struct Index<2> {
  typedef short type;
};
template <>
struct Index<4> {
  typedef int type;
};
template <>
struct Index<8> {
  typedef long long type;
};
template <class V>
struct Positions_of {
  typedef typename Index<sizeof(V{}[0])>::type type __attribute__((vector_size(sizeof(V))));
};
#define FS_SHUFFLE(a, b, ...) \
  __builtin_shuffle(a, b, typename Positions_of<decltype(a + b)>::type{__VA_ARGS__})
#endif

// Shuffles by a rule: element i of the result is element Rule::at(i, n) of both vectors in a row,
// where n is how many elements one vector has.
template <int... I>
struct Indices {};
template <int N, int... I>
struct Counting : Counting<N - 1, N - 1, I...> {};
template <int... I>
struct Counting<0, I...> {
  typedef Indices<I...> all;
};

template <class Rule, class V, int... I>
static inline V shuffle(V a, V b, Indices<I...>) {
  return FS_SHUFFLE(a, b, Rule::at(I, sizeof...(I))...);
}

template <class Rule, class V>
static inline V shuffle(V a, V b) {
  return shuffle<Rule>(a, b, typename Counting<sizeof(V) / sizeof(a[0])>::all{});
}

// a0 b0 a1 b1 ...: the lower halves of two vectors interleaved, or the upper halves.
template <bool upper>
struct Zip {
  static constexpr int at(int i, int n) { return i / 2 + i % 2 * n + (upper ? n / 2 : 0); }
};

// The lower and the upper half of one vector interleaved.
struct ZipHalves {
  static constexpr int at(int i, int n) { return i / 2 + i % 2 * (n / 2); }
};

// The same of two vectors within each 16 bytes (`width` elements), by blocks of `block` elements.
template <bool upper, int width, int block>
struct ZipLanes {
  static constexpr int at(int i, int n) {
    const int w = i % width;
    return i - w + w / (2 * block) * block + w % block + w / block % 2 * n +
           (upper ? width / 2 : 0);
  }
};

// Every second block of both vectors, from the first or from the second on.
template <bool odd, int width>
struct Unzip {
  static constexpr int at(int i, int) { return (2 * (i / width) + odd) * width + i % width; }
};

// The second of `by` elements of a and those of b that follow them: a vector from within two.
template <int by>
struct Slide {
  static constexpr int at(int i, int) { return i + by; }
};

template <int by, class V>
static inline V slide(V a, V b) {
#if defined(FS_SLIDES)
  return (V)_mm512_alignr_epi32((__m512i)b, (__m512i)a, by * sizeof(a[0]) / 4);
#else
  return shuffle<Slide<by>>(a, b);
#endif
}

// A square of vectors, transposed: as many as each has elements.
template <class T>
static inline void transpose(typename Vec<T>::type (&r)[Vec<T>::lanes]) {
  typedef typename Vec<T>::type V;
  constexpr int n = Vec<T>::lanes, width = 16 / sizeof(T), squares = n / width;
  V next[n];
  // Squares within 16 bytes, which every instruction set can do at full speed.
#pragma GCC unroll 16
  for (int g = 0; g < n; g += width) {
    if constexpr (width == 2) {
      next[g] = shuffle<ZipLanes<false, 2, 1>>(r[g], r[g + 1]);
      next[g + 1] = shuffle<ZipLanes<true, 2, 1>>(r[g], r[g + 1]);
    } else {
      const V low[2] = {shuffle<ZipLanes<false, 4, 1>>(r[g], r[g + 1]),
                        shuffle<ZipLanes<false, 4, 1>>(r[g + 2], r[g + 3])};
      const V high[2] = {shuffle<ZipLanes<true, 4, 1>>(r[g], r[g + 1]),
                         shuffle<ZipLanes<true, 4, 1>>(r[g + 2], r[g + 3])};
      next[g] = shuffle<ZipLanes<false, 4, 2>>(low[0], low[1]);
      next[g + 1] = shuffle<ZipLanes<true, 4, 2>>(low[0], low[1]);
      next[g + 2] = shuffle<ZipLanes<false, 4, 2>>(high[0], high[1]);
      next[g + 3] = shuffle<ZipLanes<true, 4, 2>>(high[0], high[1]);
    }
  }
  // Then the squares themselves.
#pragma GCC unroll 4
  for (int j = 0; j < width; ++j) {
    const V* u = next + j;
    if constexpr (squares == 1) {
      r[j] = u[0];
    } else if constexpr (squares == 2) {
      r[j] = shuffle<Unzip<false, width>>(u[0], u[width]);
      r[j + width] = shuffle<Unzip<true, width>>(u[0], u[width]);
    } else {
      const V even[2] = {shuffle<Unzip<false, width>>(u[0], u[width]),
                         shuffle<Unzip<false, width>>(u[2 * width], u[3 * width])};
      const V odd[2] = {shuffle<Unzip<true, width>>(u[0], u[width]),
                        shuffle<Unzip<true, width>>(u[2 * width], u[3 * width])};
      r[j] = shuffle<Unzip<false, width>>(even[0], even[1]);
      r[j + width] = shuffle<Unzip<false, width>>(odd[0], odd[1]);
      r[j + 2 * width] = shuffle<Unzip<true, width>>(even[0], even[1]);
      r[j + 3 * width] = shuffle<Unzip<true, width>>(odd[0], odd[1]);
    }
  }
}

// Vector v of the sequence that `rows` vectors make, a block of each in turn: step p puts in the
// blocks of row p. Step 1 begins, with row 0 in place of what is there already.
template <int rows, int v, int p, int block>
struct Riffle {
  static constexpr int at(int i, int n) {
    const int index = v * (n / block) + i / block, row = index % rows;
    const int from = index / rows * block + i % block;
    return row == p ? n + from : p == 1 && row == 0 ? from : i;
  }
};

template <int rows, int block, int v, int p, class V>
static inline V riffled(V so_far, const V (&r)[rows]) {
  const V next = shuffle<Riffle<rows, v, p, block>>(so_far, r[p]);
  if constexpr (p + 1 < rows)
    return riffled<rows, block, v, p + 1>(next, r);
  else
    return next;
}

template <int rows, int block, int v = 0, class V>
static inline void riffle(const V (&r)[rows], V* out) {
  out[v] = riffled<rows, block, v, 1>(r[0], r);
  if constexpr (v + 1 < rows) riffle<rows, block, v + 1>(r, out);
}

// P vectors as one sequence of their first elements, their second elements, ...: log2(P) rounds of
// zips, or for a P with an odd factor zips of neighbours and a riffle of what these give.
template <class T, int P>
static inline void interleave(typename Vec<T>::type (&r)[P]) {
  typedef typename Vec<T>::type V;
  constexpr int even = P & -P, odd = P / even;
  if constexpr (odd > 1) {
    V zipped[even][odd];
#pragma GCC unroll 16
    for (int q = 0; q < odd; ++q) {
      V part[even];
#pragma GCC unroll 16
      for (int p = 0; p < even; ++p) part[p] = r[q * even + p];
      interleave<T, even>(part);
#pragma GCC unroll 16
      for (int p = 0; p < even; ++p) zipped[p][q] = part[p];
    }
#pragma GCC unroll 16
    for (int p = 0; p < even; ++p) riffle<odd, even>(zipped[p], r + p * odd);
    return;
  }
#pragma GCC unroll 4
  for (int round = 1; round < P; round *= 2) {
    typename Vec<T>::type next[P];
#pragma GCC unroll 8
    for (int p = 0; p < P / 2; ++p) {
      next[2 * p] = shuffle<Zip<false>>(r[p], r[p + P / 2]);
      next[2 * p + 1] = shuffle<Zip<true>>(r[p], r[p + P / 2]);
    }
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) r[p] = next[p];
  }
}

// Every `by`-th element, from element `first` on, of the sequence that `by` vectors make: step v
// puts in those of vector v. Step 1 begins, with vector 0 in place of what is there already.
template <int by, int first, int v>
struct EveryNth {
  static constexpr int at(int i, int n) {
    const int vector = (first + i * by) / n, element = (first + i * by) % n;
    return vector == v ? n + element : v == 1 && vector == 0 ? element : i;
  }
};

template <int by, int first, int v, class V>
static inline V put_every(V so_far, const V (&r)[by]) {
  const V next = shuffle<EveryNth<by, first, v>>(so_far, r[v]);
  if constexpr (v + 1 < by)
    return put_every<by, first, v + 1>(next, r);
  else
    return next;
}

template <int by, int p, class V>
static inline void take_every(const V (&r)[by], V* out) {
  out[p] = put_every<by, p, 1>(r[0], r);
  if constexpr (p + 1 < by) take_every<by, p + 1>(r, out);
}

// What interleave puts together: of the sequence that P vectors make, every P-th element from the
// first one on, from the second one on, ...
template <class T, int P>
static inline void split(typename Vec<T>::type (&r)[P]) {
  typedef typename Vec<T>::type V;
  if constexpr (P % 2 == 0) {
    V even[P / 2], odd[P / 2];
#pragma GCC unroll 4
    for (int v = 0; v < P / 2; ++v) {
      even[v] = shuffle<Unzip<false, 1>>(r[2 * v], r[2 * v + 1]);
      odd[v] = shuffle<Unzip<true, 1>>(r[2 * v], r[2 * v + 1]);
    }
    split<T, P / 2>(even);
    split<T, P / 2>(odd);
#pragma GCC unroll 4
    for (int v = 0; v < P / 2; ++v) {
      r[2 * v] = even[v];
      r[2 * v + 1] = odd[v];
    }
  } else if constexpr (P > 1) {
    V out[P];
    take_every<P, 0>(r, out);
#pragma GCC unroll 8
    for (int v = 0; v < P; ++v) r[v] = out[v];
  }
}
