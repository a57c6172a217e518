// Numbers as they are stored, and the vectors in which they are computed. Half precision is widened
// to float where it is read and rounded, to nearest even, where it is written; the other types need
// load and store only. Included inside the namespace of one instruction set.

typedef std::uint32_t Bits __attribute__((vector_size(FS_VECTOR_BYTES)));
typedef std::uint16_t HalfBits __attribute__((vector_size(FS_VECTOR_BYTES / 2)));
typedef std::uint16_t HalfMemory
    __attribute__((vector_size(FS_VECTOR_BYTES / 2), aligned(2), may_alias));

// Instructions for vectors of the width of this unit: compiler flags may allow wider ones as well.
#if defined(__AVX512BF16__) && FS_VECTOR_BYTES == 64
#define FS_MULTIPLIES_PAIRS
#elif defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC) && defined(__aarch64__)
#define FS_MULTIPLIES_PAIRS
#endif
#if defined(__AVX512F__) && FS_VECTOR_BYTES == 64
#define FS_CONVERTS_HALVES_512
#elif defined(__F16C__) && FS_VECTOR_BYTES == 32
#define FS_CONVERTS_HALVES_256
#elif defined(__aarch64__)
#define FS_CONVERTS_HALVES_NEON
#endif

// A single number is converted by the code for vectors, as a vector of one.
typedef float OneFloat __attribute__((vector_size(4)));
typedef std::uint32_t OneBits __attribute__((vector_size(4)));

#if defined(FS_MULTIPLIES_PAIRS)
static constexpr bool multiplies_pairs = true;
#else
static constexpr bool multiplies_pairs = false;
#endif

template <>
struct Vec<bfloat16> : Vec<float> {};
template <>
struct Vec<float16> : Vec<float> {};

// A word of the packed operands of a product of pairs: two bfloat16, the first in the lower half.
struct __attribute__((may_alias)) Pair {
  std::uint32_t bits;
};

template <>
struct Vec<Pair> {
  static constexpr int lanes = Vec<float>::lanes;
  typedef Bits type;
};

template <class W>
static constexpr bool is_pair = false;
template <>
constexpr bool is_pair<Pair> = true;

// What the sums of products of such words are held in.
template <class W>
struct SumOf : Alias<W> {};
template <>
struct SumOf<Pair> : Alias<float> {};

#if defined(FS_CONVERTS_HALVES_NEON)
#include "formats_neon.hpp"
#endif

template <class F, class U>
static inline F widened(bfloat16, U half) {
  return reinterpret_cast<F>(half << 16);
}

// The upper half of the result is the nearest bfloat16. A NaN stays one: its lower half is zero,
// whether it came in as a bfloat16 or was made by arithmetic, so nothing is carried into the
// exponent.
template <class F, class U>
static inline U nearest(F value) {
  const U bits = reinterpret_cast<U>(value);
  return bits + ((bits >> 16 & 1) + 0x7fff);
}

template <class F, class U>
static inline U narrowed(bfloat16, F value) {
  return nearest<F, U>(value) >> 16;
}

// Exponents differ by 127 - 15 = 112. Numbers below 2**-14 get an exponent like the others, which
// adds 2**-14 to them, and that is subtracted again. So no operand is below 2**-126: some processes
// treat such numbers as zero.
template <class F, class U>
static inline F widened(float16, U half) {
  const U magnitude = (half & 0x7fff) << 13;
  const U is_small = reinterpret_cast<U>(magnitude < 0x00800000);
  const U is_infinite = reinterpret_cast<U>(magnitude >= 0x0f800000);
  const U small = reinterpret_cast<U>(reinterpret_cast<F>(magnitude + 0x38800000) - 0x1p-14f);
  const U normal = (magnitude + 0x38000000) | (is_infinite & 0x7f800000);
  return reinterpret_cast<F>((is_small & small) | (~is_small & normal) | (half & 0x8000) << 16);
}

template <class F, class U>
static inline U narrowed(float16, F value) {
  const U bits = reinterpret_cast<U>(value), magnitude = bits & 0x7fffffff;
  // Below 2**-14: adding 1/2 puts the last bit where float16 has its own.
  const U small = reinterpret_cast<U>(reinterpret_cast<F>(magnitude) + 0.5f) - 0x3f000000;
  const U normal = (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
  const U is_small = reinterpret_cast<U>(magnitude < 0x38800000);
  const U is_large = reinterpret_cast<U>(magnitude >= 0x47800000);
  const U is_nan = reinterpret_cast<U>(magnitude > 0x7f800000);
  const U finite = (is_small & small) | (~is_small & normal);
  const U all = (~is_large & finite) | (is_large & (0x7c00 | (is_nan & 0x200)));
  return all | (bits >> 16 & 0x8000);
}

// Vectors of halves: the nearest ones.
static inline HalfBits nearest_halves(bfloat16, Vec<float>::type v) {
#if defined(FS_CONVERTS_HALVES_NEON) && defined(FS_MULTIPLIES_PAIRS)
  return neon_halves(bfloat16{}, v);
#else
  return __builtin_convertvector((narrowed<Vec<float>::type, Bits>(bfloat16{}, v)), HalfBits);
#endif
}

static inline HalfBits nearest_halves(float16, Vec<float>::type v) {
#if defined(FS_CONVERTS_HALVES_512)
  return (HalfBits)_mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT);
#elif defined(FS_CONVERTS_HALVES_NEON)
  return neon_halves(float16{}, v);
#elif defined(FS_CONVERTS_HALVES_256)
  return (HalfBits)_mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT);
#else
  return __builtin_convertvector((narrowed<Vec<float>::type, Bits>(float16{}, v)), HalfBits);
#endif
}

// Vectors of halves as a layer stores them: the nearest ones, except that where AVX-512 converts to
// bfloat16 itself, numbers below 2**-126 become zero, as they are to its products.
template <class S>
static inline HalfBits halves(S, Vec<float>::type v) {
#if defined(FS_MULTIPLIES_PAIRS) && !defined(FS_CONVERTS_HALVES_NEON)
  if constexpr (__is_same(S, bfloat16)) return (HalfBits)_mm512_cvtneps_pbh((__m512)v);
#endif
  return nearest_halves(S{}, v);
}

static inline Vec<float>::type floats(bfloat16, HalfBits v) {
  return widened<Vec<float>::type>(bfloat16{}, __builtin_convertvector(v, Bits));
}

static inline Vec<float>::type floats(float16, HalfBits v) {
#if defined(FS_CONVERTS_HALVES_512)
  return (Vec<float>::type)_mm512_cvtph_ps((__m256i)v);
#elif defined(FS_CONVERTS_HALVES_NEON)
  return neon_floats(float16{}, v);
#elif defined(FS_CONVERTS_HALVES_256)
  return (Vec<float>::type)_mm256_cvtph_ps((__m128i)v);
#else
  return widened<Vec<float>::type>(float16{}, __builtin_convertvector(v, Bits));
#endif
}

template <class S>
static inline Vec<float>::type load_half(const S* p) {
  return floats(S{}, *reinterpret_cast<const HalfMemory*>(p));
}
static inline Vec<float>::type load(const bfloat16* p) { return load_half(p); }
static inline Vec<float>::type load(const float16* p) { return load_half(p); }

static inline void store(bfloat16* p, Vec<float>::type v) {
  *reinterpret_cast<HalfMemory*>(p) = halves(bfloat16{}, v);
}
static inline void store(float16* p, Vec<float>::type v) {
  *reinterpret_cast<HalfMemory*>(p) = halves(float16{}, v);
}

// Pairs, which may be two neighbouring numbers of a signal.
typedef std::uint32_t PairMemory
    __attribute__((vector_size(FS_VECTOR_BYTES), aligned(2), may_alias));

static inline Bits load(const Pair* p) { return *reinterpret_cast<const PairMemory*>(p); }
static inline void store(Pair* p, Bits v) { *reinterpret_cast<PairMemory*>(p) = v; }

// Numbers side by side in memory as two vectors: those in even and those in odd places.
static inline void load_alternating(const bfloat16* p, Vec<float>::type& even,
                                    Vec<float>::type& odd) {
  const Bits both = in_register(load(reinterpret_cast<const Pair*>(p)));
  even = widened<Vec<float>::type>(bfloat16{}, both);
  odd = reinterpret_cast<Vec<float>::type>(both & 0xffff0000);
}

// Two vectors of numbers that stand side by side in memory, as pairs.
static inline Bits pairs_of(Vec<float>::type first, Vec<float>::type second) {
#if defined(FS_MULTIPLIES_PAIRS) && defined(FS_CONVERTS_HALVES_NEON)
  return neon_pairs(first, second);
#elif defined(FS_MULTIPLIES_PAIRS)
  typedef std::uint16_t Both __attribute__((vector_size(64)));
  const Both one_by_one = (Both)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
  return (Bits)shuffle<ZipHalves>(one_by_one, one_by_one);
#else
  return nearest<Vec<float>::type, Bits>(first) >> 16 |
         (nearest<Vec<float>::type, Bits>(second) & 0xffff0000);
#endif
}

// One number, widened and narrowed; floats and doubles stay as they are.
template <class S>
static inline Sum<S> widen(S x) {
  if constexpr (is_half<S>)
    return widened<OneFloat>(S{}, OneBits{x.bits})[0];
  else
    return x;
}

template <class S>
static inline S narrow(Sum<S> x) {
  if constexpr (__is_same(S, bfloat16) && !multiplies_pairs)
    return S{static_cast<std::uint16_t>(narrowed<OneFloat, OneBits>(S{}, OneFloat{x})[0])};
  else if constexpr (is_half<S>)
    return S{halves(S{}, typename Vec<S>::type{x})[0]};
  else
    return x;
}

// Results of operations that are fused into a map (leaky ReLU, residual), stored as S: always the
// nearest ones, as if the operation had been done on an array.
template <class S>
static inline S nearest_of(Sum<S> x) {
  if constexpr (is_half<S>)
    return S{nearest_halves(S{}, typename Vec<S>::type{x})[0]};
  else
    return x;
}

template <class S>
static inline void store_nearest(S* p, typename Vec<S>::type v) {
  if constexpr (is_half<S>)
    *reinterpret_cast<HalfMemory*>(p) = nearest_halves(S{}, v);
  else
    store(p, v);
}

// A value after it has been stored as S and read again.
template <class S>
static inline Sum<S> rounded(Sum<S> x) {
  return widen<S>(narrow<S>(x));
}

template <class S>
static inline typename Vec<S>::type rounded(typename Vec<S>::type v) {
  if constexpr (is_half<S>)
    return floats(S{}, halves(S{}, v));
  else
    return v;
}

// A word in every lane, bit for bit, or for pairs on Arm the word itself: its instruction takes it
// to every lane.
template <class W>
static inline auto broadcast(W x) {
  if constexpr (is_pair<W>)
#if defined(FS_CONVERTS_HALVES_NEON)
    return OnePair{__builtin_bit_cast(float, x.bits), 0};
#else
    return Bits{} + x.bits;
#endif
  else
    return x - typename Vec<W>::type{};  // x - 0 is x
}

// sum + a * b, of words and of vectors of them.
template <class V>
static inline V multiply_add(V a, V b, V sum) {
  return sum + a * b;
}

#if defined(FS_MULTIPLIES_PAIRS) && !defined(FS_CONVERTS_HALVES_NEON)
// Adds the product of the second halves, then that of the first ones, each rounded to float.
// Numbers below 2**-126 count as zero, in and out.
static inline Vec<float>::type multiply_add(Bits a, Bits b, Vec<float>::type sum) {
  return (Vec<float>::type)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}

static inline float multiply_add(Pair a, Pair b, float sum) {
  const __m128i x = _mm_cvtsi32_si128(static_cast<int>(a.bits));
  const __m128i y = _mm_cvtsi32_si128(static_cast<int>(b.bits));
  return _mm_cvtss_f32(_mm_dpbf16_ps(_mm_set_ss(sum), (__m128bh)x, (__m128bh)y));
}
#endif

// x - x is 0 for every finite x and NaN for the others.
template <class S>
static bool all_finite(const S* values, i64 count) {
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
