// Pointwise programs for one instruction set: the second unit that is compiled for each of them,
// under the rules of kernels.cpp. A set with FS_COMMON has none of its own.
#if !defined(FS_COMMON)
#include <cstddef>

#if defined(__SSE2__)
#include <immintrin.h>  // whose functions are always inlined
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "pointwise_types.hpp"

namespace fracstride {
namespace {

#include "vectors.hpp"
#include "formats.hpp"
#include "copy_pieces.hpp"
#include "pack_signal.hpp"
#include "functions.hpp"
#include "trigonometry.hpp"
#include "operations.hpp"
#include "pointwise_blocks.hpp"

template <class S>
constexpr PointwiseKernels<S> pointwise_kernels{Vec<S>::lanes, run_pointwise<S>, apply_program<S>};

}  // namespace

#define FS_JOIN(a, b) a##b
#define FS_SYMBOL(isa) FS_JOIN(pointwise_, isa)

extern const PointwiseSet FS_SYMBOL(FS_ISA);
const PointwiseSet FS_SYMBOL(FS_ISA){pointwise_kernels<float>, pointwise_kernels<double>,
                                     pointwise_kernels<float16>, pointwise_kernels<bfloat16>};

}  // namespace fracstride

#endif
