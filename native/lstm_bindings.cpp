#include "lstm_bindings.hpp"

#include <cstdint>

#include "lstm.hpp"

namespace nb = nanobind;

namespace fracstride {
namespace {

template <class S>
auto lstm_step(const PackedWeight<S>& input_weight, const PackedWeight<S>& recurrent_weight,
               i64 batch, std::uintptr_t x, i64 xb, i64 xc, i64 xl, i64 length, std::uintptr_t bias,
               std::uintptr_t y, i64 yb, i64 yc, i64 yl, i64 output_length, std::uintptr_t hidden,
               std::uintptr_t cell) {
  return [=, &input_weight, &recurrent_weight] {
    const auto at = [](std::uintptr_t address) { return reinterpret_cast<S*>(address); };
    lstm<S>(input_weight, recurrent_weight, batch, Signal<const S>{at(x), xb, xc, xl, length},
            at(bias), Signal<S>{at(y), yb, yc, yl, output_length}, {at(hidden), at(cell)});
  };
}

template <class S>
void bind(nb::module_& m, nb::class_<Steps>& steps) {
  bind_step(m, steps, "lstm", &lstm_step<S>,
            std::tuple<nb::keep_alive<1, 2>, nb::keep_alive<1, 3>>());
}

}  // namespace

void bind_lstm(nb::module_& m, nb::class_<Steps>& steps) {
  bind<float>(m, steps);
  bind<double>(m, steps);
  bind<float16>(m, steps);
  bind<bfloat16>(m, steps);
}

}  // namespace fracstride
