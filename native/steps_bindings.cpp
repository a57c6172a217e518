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

template <class Element>
void copy_row(std::uintptr_t target, i64 target_stride, std::uintptr_t source, i64 source_stride,
              i64 length) {
  auto* to = reinterpret_cast<Element*>(target);
  const auto* from = reinterpret_cast<const Element*>(source);
  for (i64 n = 0; n < length; ++n) to[n * target_stride] = from[n * source_stride];
}

// Copies a signal to another place, between any strides of elements with so many bytes. A stride of
// 0 in the source repeats a number.
auto copy_step(std::uintptr_t target, i64 tb, i64 tc, i64 tl, std::uintptr_t source, i64 sb, i64 sc,
               i64 sl, i64 batch, i64 channels, i64 length, i64 bytes) {
  if (bytes != 2 && bytes != 4 && bytes != 8)
    throw nb::value_error("elements must have 2, 4 or 8 bytes");
  return [=] {
    for (i64 b = 0; b < batch; ++b)
      for (i64 c = 0; c < channels; ++c) {
        const std::uintptr_t to = target + bytes * (b * tb + c * tc),
                             from = source + bytes * (b * sb + c * sc);
        if (tl == 1 && sl == 1)
          std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from),
                      static_cast<std::size_t>(length * bytes));
        else if (bytes == 2)
          copy_row<std::uint16_t>(to, tl, from, sl, length);
        else if (bytes == 4)
          copy_row<std::uint32_t>(to, tl, from, sl, length);
        else
          copy_row<std::uint64_t>(to, tl, from, sl, length);
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
      // All of another list as a step, which has to be alive.
      .def(
          "nested", [](Steps& self, const Steps& other) { self.add([&other] { other.run(); }); },
          nb::keep_alive<1, 2>())
      // A function of Python as a step.
      .def("call", [](Steps& self, nb::object function) {
        self.add([function = std::move(function)] {
          nb::gil_scoped_acquire acquire;
          function();
        });
      });
  bind_step(m, steps, "copy", &copy_step, std::tuple<>());
  bind_step(m, steps, "move_rows", &move_step, std::tuple<>());
  return steps;
}

}  // namespace fracstride
