#include "lstm_bindings.hpp"

#include <cstdint>

#include "lstm.hpp"

namespace nb = nanobind;

namespace fracstride {
namespace {

template <class S>
void bind(nb::module_& m) {
  m.def("lstm", [](const PackedWeight<S>& input_weight, const PackedWeight<S>& recurrent_weight,
                   i64 batch, std::uintptr_t x, i64 xb, i64 xc, i64 xl, i64 length,
                   std::uintptr_t bias, std::uintptr_t y, i64 yb, i64 yc, i64 yl, i64 output_length,
                   std::uintptr_t hidden, std::uintptr_t cell) {
    const auto at = [](std::uintptr_t address) { return reinterpret_cast<S*>(address); };
    nb::gil_scoped_release release;
    lstm<S>(input_weight, recurrent_weight, batch, Signal<const S>{at(x), xb, xc, xl, length},
            at(bias), Signal<S>{at(y), yb, yc, yl, output_length}, {at(hidden), at(cell)});
  });
}

}  // namespace

void bind_lstm(nb::module_& m) {
  bind<float>(m);
  bind<double>(m);
  bind<float16>(m);
  bind<bfloat16>(m);
}

}  // namespace fracstride
