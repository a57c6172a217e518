// Everything that depends on the instruction set. Compiled once for each of them, with FS_ISA (its
// name), FS_VECTOR_BYTES and FS_VECTOR_REGISTERS defined by the build. With FS_COMMON, the name of
// another set, this one has products of bfloat16 of its own, and all else from that set.
//
// All code stays inside an unnamed namespace and no standard header but <cstddef> and <cstdint> is
// included: a function that two of these units shared could be compiled for one machine and run on
// another.
#include <cstddef>

#if defined(__F16C__) || defined(__AVX512F__)
#include <immintrin.h>  // whose functions are always inlined
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "types.hpp"

namespace fracstride {
namespace {

#include "vectors.hpp"
#include "formats.hpp"
#include "tile.hpp"
#include "copy_pieces.hpp"
#include "pack_signal.hpp"
#include "pack_weight.hpp"
#include "store_row.hpp"
#include "store.hpp"
#include "orientation.hpp"
#include "edges.hpp"
#include "frames.hpp"
#include "filter_rows.hpp"
#include "filters.hpp"
#include "product.hpp"
#include "lstm_product.hpp"
#include "depthwise.hpp"
#include "antialiased_blocks.hpp"
#include "grad_run.hpp"
#include "grad_pack.hpp"
#include "weight_grad.hpp"
#include "depthwise_grad.hpp"
#include "bias_grad.hpp"
#include "roofline.hpp"

template <class S>
static void widen_all(const S* from, Sum<S>* to, i64 count) {
  copy_stretch<Widened<S>>(from, 1, 1, count, count, to);
}

template <class S>
constexpr Kernels<S> kernels{
    Vec<S>::lanes,
    panel_vectors * Vec<S>::lanes,
    tile_vectors * Vec<S>::lanes,
    run_steps,
    multiplies_pairs && __is_same(S, bfloat16),
    all_finite<S>,
    widen_all<S>,
    pack_scratch,
    packs_runs,
    pack_panels<S>,
    scratch_elements<S>,
    run_units<S>,
    depthwise<S>,
    antialiased_scratch<S>,
    antialiased<S>,
    fill<S>,
    lstm_product<S>,
    lstm_words<S>,
};

template <class S>
constexpr GradKernels<S> grad_kernels{
    Vec<S>::lanes,   grad_width<S>(), tile_rows,    multiplies_pairs && __is_same(S, bfloat16),
    grad_scratch<S>, grad_units<S>,   bias_grad<S>,
};

#define FS_TEXT(x) #x
#define FS_NAME(x) FS_TEXT(x)

}  // namespace

#define FS_JOIN(a, b) a##b
#define FS_KERNELS(isa) FS_JOIN(kernels_, isa)
#define FS_COMMON_KERNELS(isa) FS_JOIN(common_kernels_, isa)
#define FS_POINTWISE(isa) FS_JOIN(pointwise_, isa)

#if defined(FS_COMMON)
extern const CommonKernels FS_COMMON_KERNELS(FS_COMMON);
#else
#define FS_COMMON FS_ISA
extern const PointwiseSet FS_POINTWISE(FS_ISA);  // of pointwise_kernels.cpp
extern const CommonKernels FS_COMMON_KERNELS(FS_ISA);
const CommonKernels FS_COMMON_KERNELS(FS_ISA){
    kernels<float>,       kernels<double>,       kernels<float16>,     grad_kernels<float>,
    grad_kernels<double>, grad_kernels<float16>, multiply_adds<float>, &FS_POINTWISE(FS_ISA),
};
#endif

extern const InstructionSet FS_KERNELS(FS_ISA);
const InstructionSet FS_KERNELS(FS_ISA){FS_NAME(FS_ISA), &FS_COMMON_KERNELS(FS_COMMON),
                                        kernels<bfloat16>, grad_kernels<bfloat16>};

}  // namespace fracstride
