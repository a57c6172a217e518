// Sine and cosine of a vector of floats. Included inside the namespace of one instruction set.

// Whether a lane is beyond a limit, or NaN.
static inline bool any_beyond(Floats x, float limit) {
#if defined(__AVX512F__) && FS_VECTOR_BYTES == 64
  return _mm512_cmp_ps_mask((__m512)x, (__m512)(limit - Floats{}), _CMP_NLE_UQ) != 0;
#elif defined(__AVX__) && FS_VECTOR_BYTES == 32
  return _mm256_movemask_ps((__m256) ~(x <= limit)) != 0;
#elif defined(__SSE2__) && FS_VECTOR_BYTES == 16
  return _mm_movemask_ps((__m128) ~(x <= limit)) != 0;
#else
  typedef std::uint64_t Wide __attribute__((vector_size(FS_VECTOR_BYTES)));
  const Wide wide = (Wide) ~(x <= limit);
  std::uint64_t all = 0;
  for (unsigned i = 0; i < sizeof(wide) / sizeof(all); ++i) all |= wide[i];
  return all != 0;
#endif
}

// x - n pi, for x up to largest_reduced, where pi is a sum of terms whose products with n are
// exact. Of the polynomials that are about as near to the sine, each is one with small rounding
// errors: no result is beyond 1.
#if defined(__FMA__) || defined(__aarch64__)
static constexpr float largest_reduced = 0x1p16f;
static constexpr float sine_polynomial[] = {-0x1.55554cp-3f, 0x1.110eep-7f, -0x1.9f6eeep-13f,
                                            0x1.5d7ddap-19f};

static inline Floats without_multiples(Floats x, Floats n) {
  return x - n * 0x1.921fb6p+1f + n * 0x1.777a5cp-24f + n * 0x1.ee59dap-49f;
}
#else
static constexpr float largest_reduced = 0x1p12f;
static constexpr float sine_polynomial[] = {-0x1.55554cp-3f, 0x1.110edp-7f, -0x1.9f6ddp-13f,
                                            0x1.5d914ap-19f};

static inline Floats without_multiples(Floats x, Floats n) {
  const Floats most = x - n * 0x1.92p+1f - n * 0x1.fb4p-11f;  // exact
  const Floats product = n * 0x1.444p-23f, rest = most - product;
  const Floats lost = (most - rest) - product;  // by rounding the rest
  return rest + (lost - n * 0x1.68c234p-38f);
}
#endif

// The binary digits of 2 / pi, after 32 zeros.
static constexpr std::uint32_t two_over_pi[] = {0,          0xa2f9836e, 0x4e441529, 0xfc2757d1,
                                                0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab};

// sin(x + quarter * pi / 2), for any x of at least 2**12: the argument's remainder in quarters, by
// integers, then a polynomial in double precision. NaN for infinity and NaN.
static __attribute__((noinline)) float sine_of_large(float x, int quarter) {
  const std::uint32_t bits = reinterpret_cast<OneBits>(OneFloat{x})[0];
  if ((bits & 0x7fffffff) >= 0x7f800000) return x - x;
  const std::uint64_t mantissa = (bits & 0x7fffff) | 0x800000;
  // |x| = mantissa * 2**exponent, from whose product with 2 / pi multiples of 4 are left out.
  const int exponent = static_cast<int>(bits >> 23 & 0xff) - 150;
  const int skipped = 32 + exponent - 2, word = skipped / 32, shift = skipped % 32;
  const auto digits = [&](int i) {
    const std::uint64_t two =
        std::uint64_t{two_over_pi[word + i]} << 32 | two_over_pi[word + i + 1];
    return two << shift >> 32;
  };
  const std::uint64_t quarters =
      (mantissa * digits(0) << 32) + mantissa * digits(1) + (mantissa * digits(2) >> 32);
  const std::uint64_t nearest = (quarters + (std::uint64_t{1} << 61)) >> 62;
  const auto rest = static_cast<std::int64_t>(quarters - (nearest << 62));
  const bool negative = bits >> 31;
  // sin(-x + quarter) = -sin(x - quarter)
  const int turn = static_cast<int>(nearest) + (negative ? -quarter : quarter);
  const double r = static_cast<double>(rest) * 0x1.921fb54442d18p-62, z = r * r;
  const double sine =
      r + r * z * (-1.0 / 6 + z * (1.0 / 120 + z * (-1.0 / 5040 + z * (1.0 / 362880))));
  const double cosine =
      1 + z * (-0.5 + z * (1.0 / 24 + z * (-1.0 / 720 + z * (1.0 / 40320 - z / 3628800))));
  const double value = turn & 1 ? cosine : sine;
  return static_cast<float>(((turn & 2) != 0) != negative ? -value : value);
}

// `value` with the lanes of large arguments computed by sine_of_large.
static __attribute__((noinline)) Floats with_large(Floats x, Floats value, int quarter) {
  for (int lane = 0; lane < Vec<float>::lanes; ++lane)
    if (!(__builtin_fabsf(x[lane]) <= largest_reduced))
      value[lane] = sine_of_large(x[lane], quarter);
  return value;
}

// sin(r) = r + r**3 * polynomial(r**2), to 2**-27 for |r| up to 1.585.
static inline Floats sine_of_rest(Floats r) {
  const Floats square = r * r;
  return multiply_add(r * square, polynomial(square, sine_polynomial), r);
}

static inline Floats sin_of(Floats x) {
  const Floats size = magnitude_of(x);
  const Floats shifted = multiply_add(size, 0x1.45f306p-2f - Floats{}, rounder - Floats{});
  const Floats sine = sine_of_rest(without_multiples(size, shifted - rounder));
  // Odd multiples of pi, the lowest bit, change the sign.
  const Floats value = floats(ints(sine) ^ (ints(shifted) << 31) ^ (ints(x) & ints(-Floats{})));
  return __builtin_expect(any_beyond(size, largest_reduced), 0) ? with_large(x, value, 0) : value;
}

// cos(r) = 1 - r**2 / 2 + ..., to 2**-32 for |r| up to 0.795.
static inline Floats cosine_of_rest(Floats r) {
  static constexpr float c[] = {-0.5f, 0x1.55554ap-5f, -0x1.6c0c0ep-10f, 0x1.99db9ap-16f};
  const Floats square = r * r;
  return multiply_add(square, polynomial(square, c), 1 - Floats{});
}

// By multiples of pi / 2, so that results near 1 are as exact as the others: at the odd ones the
// cosine is a sine.
static inline Floats cos_of(Floats x) {
  const Floats size = magnitude_of(x);
  const Floats shifted = multiply_add(size, 0x1.45f306p-1f - Floats{}, rounder - Floats{});
  const Floats half = (shifted - rounder) * 0.5f;
  const Floats rest = without_multiples(size, half);
  const Ints n = ints(shifted);
  const Floats either = (n & 1) != 0 ? sine_of_rest(rest) : cosine_of_rest(rest);
  const Floats value = floats(ints(either) ^ ((n + 1) >> 1 << 31));
  return __builtin_expect(any_beyond(size, largest_reduced), 0) ? with_large(x, value, 1) : value;
}
