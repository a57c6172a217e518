// How the work of a map is cut into units, which the threads share. A cut never changes a result:
// the order of every sum is the layer's alone.
#pragma once
#include "types.hpp"

namespace fracstride {

// The frames of one block of the maps T and C, and how they are packed.
template <class S>
void choose_blocks(Call<S>& call, const Kernels<S>& kernels, int threads);

// The number of panels of the weight's rows, which is that of the units of a block.
template <class S>
i64 panel_count(const Call<S>& call, const Kernels<S>& kernels);

// How many blocks the batch entries make: some may share one.
template <class S>
i64 entry_blocks(const Call<S>& call);

// The first unit of a thread's share. Shares are equal in frames, as nearly as units allow, and not
// in units: the last block of a signal may be short.
template <class S>
i64 first_unit(const Call<S>& call, i64 panels, i64 index, i64 count);

// The rows, columns and shifts of one unit of the map R: as many as its sums fit the cache, but so
// few that all threads have work.
template <class S>
void choose_blocks(WeightGradCall<S>& call, const GradKernels<S>& kernels, int threads);

template <class S>
i64 unit_count(const WeightGradCall<S>& call);

// The frames of one piece of a row of a depthwise layer.
template <class S>
void choose_pieces(DepthwiseCall<S>& call, const Kernels<S>& kernels, i64 rows, int threads);

}  // namespace fracstride
