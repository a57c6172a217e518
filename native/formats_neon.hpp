// Half precision by the instructions of 64-bit Arm. Included by formats.hpp, inside the namespace
// of one instruction set.

static_assert(FS_VECTOR_BYTES == 16);

// To the nearest, and back: numbers below 2**-14 like the others.
static inline HalfBits neon_halves(float16, Vec<float>::type v) {
  return (HalfBits)vcvt_f16_f32((float32x4_t)v);
}
static inline Vec<float>::type neon_floats(float16, HalfBits v) {
  return (Vec<float>::type)vcvt_f32_f16((float16x4_t)v);
}

// A pair as it is broadcast: in the first of two places.
typedef float OnePair __attribute__((vector_size(8)));

#if defined(FS_MULTIPLIES_PAIRS)
// To the nearest. Numbers below 2**-126 are numbers like the others here, though not in products.
static inline HalfBits neon_halves(bfloat16, Vec<float>::type v) {
  return (HalfBits)vcvt_bf16_f32((float32x4_t)v);
}

static inline Bits neon_pairs(Vec<float>::type first, Vec<float>::type second) {
  const bfloat16x8_t low = vcvtq_low_bf16_f32((float32x4_t)first);
  typedef std::uint16_t Both __attribute__((vector_size(16)));
  const Both one_by_one = (Both)vcvtq_high_bf16_f32(low, (float32x4_t)second);
  return (Bits)shuffle<ZipHalves>(one_by_one, one_by_one);
}

// BFDOT: adds up the two products, and then adds that to the sum. Both results are rounded to odd:
// one that is not exact gets a last bit of 1, so each is off by less than one unit in the last
// place. Numbers below 2**-126 count as zero, in and out. (BFMMLA, which multiplies two by four
// numbers with four by two, does the same to each of its sums twice in a row; a word would have to
// be four terms and a vector two rows of them.)
static inline Vec<float>::type multiply_add(OnePair a, Bits b, Vec<float>::type sum) {
  return (Vec<float>::type)vbfdotq_lane_f32((float32x4_t)sum, (bfloat16x8_t)b, (bfloat16x4_t)a, 0);
}

static inline float multiply_add(Pair a, Pair b, float sum) {
  return vget_lane_f32(vbfdot_f32(vdup_n_f32(sum), (bfloat16x4_t)vdup_n_u32(a.bits),
                                  (bfloat16x4_t)vdup_n_u32(b.bits)),
                       0);
}
#endif
