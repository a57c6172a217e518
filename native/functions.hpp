// Functions of a vector of floats, at most 2 units in the last place from the exact value. The
// polynomials are minimax ones, fitted for this library; each comment gives their relative error.
// Included inside the namespace of one instruction set.
//
// A sum of two products could be fused in two ways: there is none here, so that every place where
// these functions are inlined computes the same bits.

typedef Vec<float>::type Floats;
typedef Vec<double>::type Doubles;
typedef std::int32_t Ints __attribute__((vector_size(FS_VECTOR_BYTES)));

static inline Ints ints(Floats x) { return reinterpret_cast<Ints>(x); }
static inline Floats floats(Ints x) { return reinterpret_cast<Floats>(x); }

template <class V>
static inline V magnitude_of(V x) {
  typedef decltype(x < x) M;
  return reinterpret_cast<V>(reinterpret_cast<M>(x) & ~reinterpret_cast<M>(-V{}));
}

// x with its sign flipped where `of` is negative.
template <class V>
static inline V flip_sign(V x, V of) {
  typedef decltype(x < x) M;
  return reinterpret_cast<V>(reinterpret_cast<M>(x) ^
                             (reinterpret_cast<M>(of) & reinterpret_cast<M>(-V{})));
}

// A value whose sign is that of x, or +0 where it should have x's zero.
static inline Floats with_sign_of(Floats value, Floats x) {
  return floats(ints(value) | (ints(x) & ints(-Floats{})));
}

// The smaller of x and a bound, and the larger one; NaN stays.
template <class V>
static inline V smaller_of(V x, decltype(x[0] + 0) bound) {
  const V limit = bound - V{};
  return x > limit ? limit : x;
}
template <class V>
static inline V larger_of(V x, decltype(x[0] + 0) bound) {
  const V limit = bound - V{};
  return x < limit ? limit : x;
}

// Where an instruction does it: of these, NaN gives the second operand.
#if defined(__AVX512F__) && FS_VECTOR_BYTES == 64
#define FS_FLOATS(name) _mm512_##name
#define FS_FLOATS_AS (__m512)
#elif defined(__AVX__) && FS_VECTOR_BYTES == 32
#define FS_FLOATS(name) _mm256_##name
#define FS_FLOATS_AS (__m256)
#elif defined(__SSE2__) && FS_VECTOR_BYTES == 16
#define FS_FLOATS(name) _mm_##name
#define FS_FLOATS_AS (__m128)
#endif
#if defined(FS_FLOATS)
static inline Floats smaller_of(Floats x, float bound) {
  return (Floats)FS_FLOATS(min_ps)(FS_FLOATS_AS(bound - Floats{}), FS_FLOATS_AS x);
}
static inline Floats larger_of(Floats x, float bound) {
  return (Floats)FS_FLOATS(max_ps)(FS_FLOATS_AS(bound - Floats{}), FS_FLOATS_AS x);
}
#endif

// c[0] + c[1] x + c[2] x**2 + ...
template <int degree>
static inline Floats polynomial(Floats x, const float (&c)[degree]) {
  Floats sum = c[degree - 1] - Floats{};
#pragma GCC unroll 16
  for (int i = degree - 2; i >= 0; --i) sum = multiply_add(sum, x, c[i] - Floats{});
  return sum;
}

// Added to a number below 2**22, it leaves the nearest integer in the lowest bits.
static constexpr float rounder = 0x1.8p23f;

// x = n ln 2 + rest, where n is in the lowest bits of `shifted`.
struct Parted {
  Floats shifted, rest;
};

static inline Parted part(Floats x) {
  const Floats shifted = multiply_add(x, 0x1.715476p+0f - Floats{}, rounder - Floats{});
  const Floats n = shifted - rounder;
  const Floats rest = x - n * 0x1.62e4p-1f;  // exact: n * 0x1.62e4p-1 has 22 bits
  return {shifted, rest - n * 0x1.7f7d1cp-20f};
}

// e**rest, to 2**-28.
static inline Floats exp_of_rest(Floats rest) {
  static constexpr float c[] = {0x1.fffffcp-2f, 0x1.555492p-3f, 0x1.5558c0p-5f, 0x1.1239e0p-7f,
                                0x1.6a3d70p-10f};
  return 1 + multiply_add(rest * rest, polynomial(rest, c), rest);
}

// 2**(n + plus), which must be a normal number.
static inline Floats power_of_two(Floats shifted, int plus = 0) {
  return floats((ints(shifted) << 23) + ((127 + plus) << 23));
}

// x * 2**n, rounded once; n is between -252 and 254.
static inline Floats scale(Floats x, Floats shifted) {
#if defined(__AVX512F__) && FS_VECTOR_BYTES == 64
  return (Floats)_mm512_scalef_ps((__m512)x, (__m512)(shifted - rounder));
#else
  const Ints all = ints(shifted), half = all >> 1, one = (127 << 23) - Ints{};
  return x * floats((half << 23) + one) * floats(((all - half) << 23) + one);
#endif
}

// For arguments below 89.
static inline Floats exp_below(Floats x) {
  const Parted p = part(larger_of(x, -104));
  return scale(exp_of_rest(p.rest), p.shifted);
}

static inline Floats exp_of(Floats x) { return exp_below(smaller_of(x, 89)); }

// For arguments between -87 and 88.
static inline Floats exp_of_moderate(Floats x) {
  const Parted p = part(x);
  return exp_of_rest(p.rest) * power_of_two(p.shifted);
}

// e**rest - 1, to 2**-31.
static inline Floats expm1_of_rest(Floats rest) {
  static constexpr float c[] = {0x1.0p-1f,      0x1.555554p-3f,  0x1.5554f8p-5f,
                                0x1.1112d4p-7f, 0x1.6d3aa0p-10f, 0x1.9e7d64p-13f};
  return multiply_add(rest * rest, polynomial(rest, c), rest);
}

// e**x - 1 = 2**n (e**rest - 1) + (2**n - 1)
static inline Floats expm1_of(Floats x) {
  const Parted p = part(larger_of(smaller_of(x, 89), -18));
  const Floats near = expm1_of_rest(p.rest);
  const Floats half = power_of_two(p.shifted, -1);  // 2**n may be too large
  const Floats far = multiply_add(half, near, half - 0.5f) * 2;
  return with_sign_of(half == 0.5f ? near : far, x);
}

// For arguments below 0; NaN for NaN.
static inline Floats expm1_below(Floats x) {
  const Parted p = part(larger_of(x, -18));
  const Floats power = power_of_two(p.shifted);
  return multiply_add(power, expm1_of_rest(p.rest), power - 1);
}

// ln(2**exponent (u + correction)), where the correction is a rounding error of u, for finite
// numbers and a normal u. f = mantissa - 1 is between sqrt(1/2) - 1 and sqrt(2) - 1; ln(1 + f) to
// 2**-27.
template <bool corrected>
static inline Floats log_of_sum(Floats u, Floats correction, Floats exponent) {
  static constexpr float c[] = {-0x1.0p-1f,      0x1.555554p-2f,  -0x1.000232p-2f,
                                0x1.99a054p-3f,  -0x1.546f38p-3f, 0x1.22d048p-3f,
                                -0x1.0d9a9ap-3f, 0x1.05b130p-3f,  -0x1.391ec8p-4f};
  constexpr int half = 0x3f3504f3;  // sqrt(1/2)
  const Ints above = ints(u) - half, n = above >> 23;
  Floats f = floats((above & 0x7fffff) + half) - 1;
  if constexpr (corrected) {
    // 2**-n, or where that is subnormal, and the correction far below u, the least normal number.
    const Ints wanted = 0x3f800000 - (n << 23), least = 0x00800000 - Ints{};
    f = multiply_add(correction, floats(wanted < least ? least : wanted), f);
  }
  const Floats e = __builtin_convertvector(n, Floats) + exponent;
  const Floats near = multiply_add(f * f, polynomial(f, c), f);
  return multiply_add(e, 0x1.62e3p-1f - Floats{},
                      multiply_add(e, 0x1.2fefa4p-17f - Floats{}, near));
}

// The logarithm of x, where `value` is that of finite positive numbers.
static inline Floats log_at_ends(Floats x, Floats value) {
  const float infinity = __builtin_inff(), none = __builtin_nanf("");
  const Floats ends = x == 0 ? -infinity - Floats{} : (x < 0 ? none - Floats{} : x);
  return ((x > 0) & (x < infinity)) ? value : ends;
}

static inline Floats log_of(Floats x) {
  const Ints subnormal = x < 0x1p-126f;
  const Floats u = subnormal ? x * 0x1p25f : x;
  const Floats exponent = subnormal ? -25.0f - Floats{} : Floats{};
  return log_at_ends(x, log_of_sum<false>(u, Floats{}, exponent));
}

static inline Floats log1p_of(Floats x) {
  const Floats u = x + 1;
  return with_sign_of(log_at_ends(u, log_of_sum<true>(u, x - (u - 1), Floats{})), x);
}

// Below 5/8 an odd polynomial, to 2**-27; above, 1 - 2 e / (1 + e) for e = e**-2x, which is
// 2**n e**(2 rest) with -x = n ln(2) / 2 + rest.
static inline Floats tanh_of(Floats x) {
  static constexpr float c[] = {-0x1.555532p-2f, 0x1.1106f6p-3f, -0x1.b835a4p-5f, 0x1.51f8cep-6f,
                                -0x1.750ce4p-8f};
  const Floats size = smaller_of(magnitude_of(x), 10), square = size * size;
  const Floats near = multiply_add(size * square, polynomial(square, c), size);
  const Parted p = part(-2 * size);
  const Floats e = exp_of_rest(p.rest) * power_of_two(p.shifted);
  const Floats far = 1 - e / multiply_add(e, 0.5f - Floats{}, 0.5f - Floats{});
  return with_sign_of(size < 0.625f ? near : far, x);
}

static inline Floats sigmoid_of(Floats x) {
  const Floats e = exp_below(-magnitude_of(x)), sum = 1 + e;
  const Floats value = (x < 0 ? e : 1 - Floats{}) / sum;
  // The rounding error of the sum, divided by it: 1 / sum is `value` or the rest to 1.
  const Floats lost = (e - (sum - 1)) * (x < 0 ? 1 - value : value);
  return value - value * lost;
}

// erf(|x|) where |x| is small, and 1 - erf(|x|) where it is large.
struct ErrorFunction {
  Floats small, logarithm_of_rest;
  Ints is_small;
};

// Below 0.85 an odd polynomial, to 2**-27; above, 1 - erf(x) = e**polynomial, to 2**-24, which
// is 2**-30 of erf(x).
// From 4 on erf(x) is 1 in single precision, and 1 - erf(x) falls on as e**-x**2 does.
static inline ErrorFunction error_function(Floats x) {
  static constexpr float near[] = {0x1.06eba8p-3f,  -0x1.812726p-2f, 0x1.ce256ap-4f,
                                   -0x1.b735eap-6f, 0x1.4b7630p-8f,  -0x1.4cd860p-11f};
  static constexpr float far[] = {0x1.0adc3cp-12f, -0x1.214474p+0f,  -0x1.43c1e8p-1f,
                                  -0x1.c0cb50p-4f, 0x1.abdcc0p-6f,   -0x1.307ffcp-8f,
                                  0x1.2ba716p-11f, -0x1.683d3cp-15f, 0x1.8bbf92p-20f};
  const Floats size = smaller_of(magnitude_of(x), 11), square = size * size;
  const Floats beyond = larger_of(square, 16) - 16;
  const Floats exponent = polynomial(smaller_of(size, 4), far) - beyond;
  return {multiply_add(size, polynomial(square, near), size), exponent, size < 0.85f};
}

static inline Floats erf_of(Floats x) {
  const ErrorFunction e = error_function(x);
  const Floats rest = exp_of_moderate(larger_of(e.logarithm_of_rest, -80));
  return with_sign_of(e.is_small ? e.small : 1 - rest, x);
}

// (1 + erf(x)) / 2
static inline Floats normal_distribution(Floats x) {
  const ErrorFunction e = error_function(x);
  const Floats small = flip_sign(e.small, x) + 1, rest = exp_below(e.logarithm_of_rest);
  return 0.5f * (e.is_small ? small : (x < 0 ? rest : 2 - rest));
}
