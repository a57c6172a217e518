// Vectors of the instruction set that this translation unit is compiled for, through the vector
// types of GCC and Clang: the same source for SSE2, AVX2, AVX-512 and NEON.
// Included inside the namespace of one instruction set.

template <class T>
struct Vec {
  static constexpr int lanes = FS_VECTOR_BYTES / sizeof(T);
  // Values, and what they are in memory: aligned like one element, so that loads and stores may
  // stand anywhere.
  typedef T type __attribute__((vector_size(FS_VECTOR_BYTES)));
  typedef T memory __attribute__((vector_size(FS_VECTOR_BYTES), aligned(sizeof(T)), may_alias));
};

template <class T>
static inline typename Vec<T>::type load(const T* p) {
  return *reinterpret_cast<const typename Vec<T>::memory*>(p);
}

template <class T>
static inline void store(T* p, typename Vec<T>::type v) {
  *reinterpret_cast<typename Vec<T>::memory*>(p) = v;
}

static inline i64 smaller(i64 a, i64 b) { return a < b ? a : b; }
static inline i64 larger(i64 a, i64 b) { return a > b ? a : b; }
static inline i64 floor_div(i64 a, i64 b) {
  const i64 q = a / b;
  return q - ((a % b != 0) && ((a % b < 0) != (b < 0)));
}
static inline i64 ceil_div(i64 a, i64 b) { return -floor_div(-a, b); }
static inline i64 round_up(i64 a, i64 b) { return (a + b - 1) / b * b; }

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

// a0 b0 a1 b1 ...: the lower halves of two vectors, interleaved.
template <class V>
static inline V zip_low(V a, V b) {
  constexpr int n = sizeof(V) / sizeof(a[0]);
  if constexpr (n == 2)
    return FS_SHUFFLE(a, b, 0, 2);
  else if constexpr (n == 4)
    return FS_SHUFFLE(a, b, 0, 4, 1, 5);
  else if constexpr (n == 8)
    return FS_SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  else
    return FS_SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

// The upper halves, interleaved.
template <class V>
static inline V zip_high(V a, V b) {
  constexpr int n = sizeof(V) / sizeof(a[0]);
  if constexpr (n == 2)
    return FS_SHUFFLE(a, b, 1, 3);
  else if constexpr (n == 4)
    return FS_SHUFFLE(a, b, 2, 6, 3, 7);
  else if constexpr (n == 8)
    return FS_SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  else
    return FS_SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

// P vectors as one sequence of their first elements, their second elements, ...: log2(P) rounds of
// zips.
template <class T, int P>
static inline void interleave(typename Vec<T>::type (&r)[P]) {
#pragma GCC unroll 4
  for (int round = 1; round < P; round *= 2) {
    typename Vec<T>::type next[P];
#pragma GCC unroll 8
    for (int p = 0; p < P / 2; ++p) {
      next[2 * p] = zip_low(r[p], r[p + P / 2]);
      next[2 * p + 1] = zip_high(r[p], r[p + P / 2]);
    }
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) r[p] = next[p];
  }
}
