#include "steps_bindings.hpp"

#include <nanobind/stl/vector.h>

#include <cstdint>
#include <cstring>
#include <tuple>
#include <utility>

#include "types.hpp"

namespace nb = nanobind;

namespace fracstride {
namespace {

// Moves `bytes` at the start of each row from one place to another, which may overlap.
auto move_step(std::uintptr_t target, std::uintptr_t source, i64 batch, i64 batch_stride,
               i64 channels, i64 channel_stride, i64 bytes) {
  return [=] {
    for (i64 b = 0; b < batch; ++b)
      for (i64 c = 0; c < channels; ++c) {
        const i64 row = b * batch_stride + c * channel_stride;
        std::memmove(reinterpret_cast<void*>(target + row),
                     reinterpret_cast<const void*>(source + row), static_cast<std::size_t>(bytes));
      }
  };
}

}  // namespace

nb::class_<Steps> bind_steps(nb::module_& m) {
  nb::class_<Steps> steps(m, "Steps");
  steps.def(nb::init<>())
      .def("__len__", &Steps::size)
      .def("run", &Steps::run, nb::call_guard<nb::gil_scoped_release>())
      .def("run_timed", &Steps::run_timed, nb::call_guard<nb::gil_scoped_release>())
      // A function of Python as a step.
      .def("call", [](Steps& self, nb::object function) {
        self.add([function = std::move(function)] {
          nb::gil_scoped_acquire acquire;
          function();
        });
      });
  bind_step(m, steps, "move_rows", &move_step, std::tuple<>());
  return steps;
}

}  // namespace fracstride
