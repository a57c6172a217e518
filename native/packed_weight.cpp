#include "packed_weight.hpp"

#include <algorithm>
#include <atomic>
#include <vector>

#include "scratch.hpp"
#include "threads.hpp"

namespace fracstride {
namespace {

template <class S>
Format format_of(const Kernels<S>& kernels) {
  return {kernels.panel_rows, kernels.lanes, kernels.multiplies_pairs};
}

auto plan_of(Direction direction) {
  switch (direction) {
    case Direction::forward: return plan_forward;
    case Direction::input_grad: return plan_input_grad;
    default: return plan_conv1d;
  }
}

// The taps of a filter in the order of the sum. T reads them as they lie.
template <class T>
void order_filter(const Product& p, T* taps, i64 count) {
  if (!p.transposed) return;
  const std::vector<T> lying(taps, taps + count);
  for (const Segment& s : p.segments)
    for (i64 u = 0; u < s.axis.channels * s.axis.phases; ++u)
      for (i64 j = 0; j < s.shifts; ++j)
        *taps++ = lying[static_cast<std::size_t>(
            s.axis.first_phase + u + (p.falling ? s.shifts - 1 - j : j) * p.weight_shift)];
}

}  // namespace

template <class S>
PackedWeight<S>::PackedWeight(const S* weight_, const Layer& layer_, Direction direction_,
                              Packing packing, const InstructionSet& isa_)
    : layer(layer_),
      direction(direction_),
      isa(isa_),
      plan(plan_of(direction)(layer, format_of(kernels_of<S>(isa)))),
      // The filters of a depthwise layer are copied at any rate: that costs next to nothing.
      weight(packing == Packing::once && !plan.filters ? weight_ : nullptr) {
  if (!weight) pack(weight_);
}

template <class S>
i64 PackedWeight<S>::group_size() const {
  return layer.in_channels * layer.out_channels * layer.kernel;
}

template <class S>
void PackedWeight<S>::pack(const S* from) {
  const Kernels<S>& kernels = kernels_of<S>(isa);
  const i64 group = group_size();
  // A vector of rows may be loaded past the last row of a filter.
  packed_ = WeightMemory<Sum<S>>(layer.groups * plan.packed_group + kernels.panel_rows);
  std::fill_n(packed_.data() + layer.groups * plan.packed_group, kernels.panel_rows, Sum<S>(0));
  if (plan.filters) {
    finite_ = kernels.all_finite(from, layer.groups * group);
    kernels.widen(from, packed_.data(), layer.groups * group);
    for (i64 g = 0; g < layer.groups; ++g)
      order_filter(plan.products[0], packed_.data() + g * group, group);
    return;
  }
  const int threads = threads_for(real_product(layer.groups, group));
  i64 scratch = 0;
  for (const Product& p : plan.products) scratch = std::max(scratch, kernels.pack_scratch(p));
  const Scratch<Sum<S>> memory(scratch * threads);
  std::atomic<bool> finite{true};
  parallel(threads, [&](int index, int count) {
    for (const Product& p : plan.products) {
      const i64 panels = divide_up(row_count(p), kernels.panel_rows);
      const i64 last = share(layer.groups * panels, index + 1, count);
      for (i64 i = share(layer.groups * panels, index, count); i < last;) {
        const i64 g = i / panels, end = std::min(last, (g + 1) * panels);
        if (!kernels.pack_panels(p, from + g * group, packed_.data() + g * plan.packed_group,
                                 i - g * panels, end - g * panels, memory.data() + index * scratch))
          finite = false;
        i = end;
      }
    }
  });
  finite_ = finite;
}

template class PackedWeight<float>;
template class PackedWeight<double>;
template class PackedWeight<float16>;
template class PackedWeight<bfloat16>;

}  // namespace fracstride
