// Everything that depends on the instruction set. Compiled once for each of them, with FS_ISA (its
// name), FS_VECTOR_BYTES and FS_VECTOR_REGISTERS defined by the build.
//
// All code stays inside an unnamed namespace and no standard header but <cstddef> and <cstdint> is
// included: a function that two of these units shared could be compiled for one machine and run on
// another.
#include <cstddef>

#include "types.hpp"

namespace fracstride {
namespace {

#include "vectors.hpp"
#include "tile.hpp"
#include "pack.hpp"
#include "store.hpp"
#include "product.hpp"
#include "depthwise.hpp"
#include "weight_grad.hpp"
#include "bias_grad.hpp"
#include "roofline.hpp"

template <class T>
constexpr Kernels<T> kernels{
    Vec<T>::lanes,
    panel_vectors * Vec<T>::lanes,
    tile_vectors * Vec<T>::lanes,
    grad_width<T>(),
    tile_rows,
    all_finite<T>,
    pack_panels<T>,
    scratch_elements<T>,
    run_units<T>,
    depthwise<T>,
    weight_grad_scratch<T>,
    weight_grad_units<T>,
    bias_grad<T>,
    multiply_adds<T>,
    fill<T>,
};

#define FS_TEXT(x) #x
#define FS_NAME(x) FS_TEXT(x)

}  // namespace

#define FS_JOIN(a, b) a##b
#define FS_SYMBOL(isa) FS_JOIN(kernels_, isa)

extern const InstructionSet FS_SYMBOL(FS_ISA);
const InstructionSet FS_SYMBOL(FS_ISA){FS_NAME(FS_ISA), &kernels<float>, &kernels<double>};

}  // namespace fracstride
