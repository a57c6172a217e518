// The operations of pointwise programs on vectors: `of(a, b, f)` for operands a and b, where f has
// the step's two numbers and the functions for vectors of this type. An operation with one operand
// leaves b alone. Included inside the namespace of one instruction set.

template <class V, class Function>
static inline V each_lane(V x, const Function& function) {
  for (unsigned lane = 0; lane < sizeof(V) / sizeof(x[0]); ++lane) x[lane] = function(x[lane]);
  return x;
}

static inline Floats square_root(Floats x) {
#if defined(__AVX512F__) && FS_VECTOR_BYTES == 64
  return (Floats)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX__) && FS_VECTOR_BYTES == 32
  return (Floats)_mm256_sqrt_ps((__m256)x);
#elif defined(__SSE2__) && FS_VECTOR_BYTES == 16
  return (Floats)_mm_sqrt_ps((__m128)x);
#elif defined(__aarch64__)
  return (Floats)vsqrtq_f32((float32x4_t)x);
#else
  return each_lane(x, [](float y) { return __builtin_sqrtf(y); });
#endif
}

static inline Doubles square_root(Doubles x) {
#if defined(__AVX512F__) && FS_VECTOR_BYTES == 64
  return (Doubles)_mm512_sqrt_pd((__m512d)x);
#elif defined(__AVX__) && FS_VECTOR_BYTES == 32
  return (Doubles)_mm256_sqrt_pd((__m256d)x);
#elif defined(__SSE2__) && FS_VECTOR_BYTES == 16
  return (Doubles)_mm_sqrt_pd((__m128d)x);
#elif defined(__aarch64__)
  return (Doubles)vsqrtq_f64((float64x2_t)x);
#else
  return each_lane(x, [](double y) { return __builtin_sqrt(y); });
#endif
}

// Single precision, also for halves: this library's own functions.
struct FloatFunctions {
  float first, second;
  const Libm* libm;

  static Floats exp(Floats x) { return exp_of(x); }
  static Floats exp_of_negative(Floats x) { return exp_below(x); }
  static Floats expm1(Floats x) { return expm1_of(x); }
  static Floats expm1_of_negative(Floats x) { return expm1_below(x); }
  static Floats log(Floats x) { return log_of(x); }
  static Floats log1p(Floats x) { return log1p_of(x); }
  static Floats sin(Floats x) { return sin_of(x); }
  static Floats cos(Floats x) { return cos_of(x); }
  static Floats tanh(Floats x) { return tanh_of(x); }
  static Floats sigmoid(Floats x) { return sigmoid_of(x); }
  static Floats erf(Floats x) { return erf_of(x); }
  static Floats normal(Floats x) { return normal_distribution(x * 0x1.6a09e6p-1f); }
  Floats power(Floats x, Floats y) const {
    for (int lane = 0; lane < Vec<float>::lanes; ++lane)
      x[lane] = static_cast<float>(libm->power(x[lane], y[lane]));
    return x;
  }
};

// Double precision: the C library's functions, number by number.
struct DoubleFunctions {
  double first, second;
  const Libm* libm;

  Doubles exp(Doubles x) const { return each_lane(x, libm->exp); }
  Doubles exp_of_negative(Doubles x) const { return exp(x); }
  Doubles expm1(Doubles x) const { return each_lane(x, libm->expm1); }
  Doubles expm1_of_negative(Doubles x) const { return expm1(x); }
  Doubles log(Doubles x) const { return each_lane(x, libm->log); }
  Doubles log1p(Doubles x) const { return each_lane(x, libm->log1p); }
  Doubles sin(Doubles x) const { return each_lane(x, libm->sin); }
  Doubles cos(Doubles x) const { return each_lane(x, libm->cos); }
  Doubles tanh(Doubles x) const { return each_lane(x, libm->tanh); }
  Doubles erf(Doubles x) const { return each_lane(x, libm->erf); }
  Doubles sigmoid(Doubles x) const {
    const Doubles e = exp(-magnitude_of(x));
    return (x < 0 ? e : 1 - Doubles{}) / (1 + e);
  }
  Doubles normal(Doubles x) const { return 0.5 * each_lane(x * -0x1.6a09e667f3bcdp-1, libm->erfc); }
  Doubles power(Doubles x, Doubles y) const {
    for (int lane = 0; lane < Vec<double>::lanes; ++lane) x[lane] = libm->power(x[lane], y[lane]);
    return x;
  }
};

template <class S>
struct FunctionsFor : Alias<FloatFunctions> {};
template <>
struct FunctionsFor<double> : Alias<DoubleFunctions> {};
template <class S>
using Functions = typename FunctionsFor<S>::type;

// x * sigmoid(y), for an x with the sign of y.
template <class V, class F>
static inline V gated(V x, V y, const F& f) {
  const V e = f.exp_of_negative(-magnitude_of(y));
  return (y < 0 ? x * e : x) / (1 + e);
}

namespace operation {

#define FS_UNARY(name, expression)           \
  struct name {                              \
    template <class V, class F>              \
    static inline V of(V a, V, const F& f) { \
      (void)f;                               \
      return expression;                     \
    }                                        \
  };
#define FS_BINARY(name, expression)            \
  struct name {                                \
    template <class V, class F>                \
    static inline V of(V a, V b, const F& f) { \
      (void)f;                                 \
      return expression;                       \
    }                                          \
  };

FS_UNARY(copy, a)
FS_UNARY(negative, -a)
FS_UNARY(absolute, magnitude_of(a))
FS_UNARY(square, (a * a))
FS_UNARY(cube, (a * a * a))
FS_UNARY(sqrt, square_root(a))
FS_UNARY(rsqrt, 1 / square_root(a))
FS_UNARY(reciprocal, 1 / a)
FS_UNARY(exp, f.exp(a))
FS_UNARY(expm1, f.expm1(a))
FS_UNARY(log, f.log(a))
FS_UNARY(log1p, f.log1p(a))
FS_UNARY(sin, f.sin(a))
FS_UNARY(cos, f.cos(a))
FS_UNARY(tanh, f.tanh(a))
FS_UNARY(sigmoid, f.sigmoid(a))
FS_UNARY(erf, f.erf(a))
FS_UNARY(elu, a >= 0 ? a : f.first * f.expm1_of_negative(a))
FS_UNARY(gelu, a* f.normal(a))
FS_UNARY(silu, gated(a, a, f))
FS_UNARY(relu, a <= 0 ? V{} : a)
FS_UNARY(clamp, smaller_of(larger_of(a, f.first), f.second))
FS_BINARY(leaky_relu, a > 0 ? a : a * b)
FS_BINARY(power, f.power(a, b))
FS_BINARY(add, a + b)
FS_BINARY(subtract, a - b)
FS_BINARY(multiply, a* b)
FS_BINARY(divide, a / b)
FS_BINARY(maximum, ((a > b) | (a != a)) ? a : b)
FS_BINARY(minimum, ((a < b) | (a != a)) ? a : b)

// x / 2 * (1 + tanh(y)) is x * sigmoid(2 y).
struct gelu_tanh {
  template <class V, class F>
  static inline V of(V a, V, const F& f) {
    typedef decltype(a[0] + 0) T;
    const V inner = multiply_add(a * a, T(0.044715) - V{}, T(1) - V{});
    return gated(a, a * inner * T(0x1.9884533d43651p+0), f);
  }
};

// log(1 + e**y) / beta for y = beta x, without overflow.
struct softplus {
  template <class V, class F>
  static inline V of(V a, V, const F& f) {
    const V y = a * f.first;
    const V positive = y > 0 ? y : V{};
    const V sum = positive + f.log1p(f.exp_of_negative(-magnitude_of(y)));
    return y > f.second ? a : sum / f.first;
  }
};

#undef FS_UNARY
#undef FS_BINARY

}  // namespace operation

// The result of a step as it is stored: of halves the nearest one.
template <class S>
static inline typename Vec<S>::type stored(typename Vec<S>::type v) {
  if constexpr (__is_same(S, bfloat16))
    return reinterpret_cast<Floats>(nearest<Floats, Bits>(v) & 0xffff0000);
  else if constexpr (is_half<S>)
    return floats(S{}, nearest_halves(S{}, v));
  else
    return v;
}

// Where a step reads: numbers side by side (step 1), or one vector again and again (step 0).
template <class S>
struct Place {
  const Sum<S>* data;
  i64 step;
};

// A product that is rounded before anything is added to it.
template <class V>
static inline V rounded_product(V a, V b) {
  V product = a * b;
#if defined(__x86_64__)
  asm("" : "+v"(product));
#elif defined(__aarch64__)
  asm("" : "+w"(product));
#else
  asm("" : "+m"(product));
#endif
  return product;
}

namespace operation {

// The steps of a chain, each rounded as if it had been stored.
template <class S, bool divided>
struct snakes {
  template <class V, class F>
  static inline V of(V a, V b, V c, const F& f) {
    const V sine = stored<S>(f.sin(stored<S>(rounded_product(a, b))));
    const V square = stored<S>(rounded_product(sine, sine));
    return a + stored<S>(divided ? square / c : rounded_product(square, c));
  }
};
template <class S>
using snake = snakes<S, false>;
template <class S>
using snake_divided = snakes<S, true>;

}  // namespace operation

// One step on `count` numbers, in whole vectors.
template <class S, class Operation, int operands>
static void run_step(const PointwiseStep<S>& step, const Libm* libm, const Place<S>* places,
                     Sum<S>* to, i64 count) {
  typedef typename Vec<S>::type V;
  const Functions<S> f{step.first, step.second, libm};
  const Place<S> a = places[step.a], b = places[step.b], c = places[step.c];
#pragma GCC unroll 2
  for (i64 i = 0; i < count; i += Vec<S>::lanes) {
    const V x = load(a.data + i * a.step);
    const V y = operands >= 2 ? load(b.data + i * b.step) : x;
    if constexpr (operands == 3)
      store(to + i, stored<S>(Operation::of(x, y, load(c.data + i * c.step), f)));
    else
      store(to + i, stored<S>(Operation::of(x, y, f)));
  }
}

template <class S>
using StepFunction = void (*)(const PointwiseStep<S>&, const Libm*, const Place<S>*, Sum<S>*, i64);

template <class S>
static constexpr StepFunction<S> step_functions[] = {
#define FS_FUNCTION(name, operands, weight) run_step<S, operation::name, operands>,
#define FS_FUSED(name, operands, weight) run_step<S, operation::name<S>, operands>,
    FS_OPERATIONS(FS_FUNCTION) FS_FUSED_OPERATIONS(FS_FUSED)
#undef FS_FUNCTION
#undef FS_FUSED
};
