#include "steps_bindings.hpp"

#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <utility>
#include <vector>

#include "push.hpp"
#include "types.hpp"

namespace nb = nanobind;

namespace fracstride {
namespace {

// Moves the first `bytes` of a row to a place before it, which may overlap with it.
void move_row(char* to, const char* from, i64 bytes) {
  constexpr i64 block = 16, element = 2;
  for (; bytes >= block; bytes -= block, to += block, from += block) {
    char few[block];
    std::memcpy(few, from, block);
    std::memcpy(to, few, block);
  }
  for (; bytes > 0; bytes -= element, to += element, from += element)
    std::memcpy(to, from, element);
}

// Moves `bytes` at the start of each row to a place before it.
auto move_step(std::uintptr_t target, std::uintptr_t source, i64 batch, i64 batch_stride,
               i64 channels, i64 channel_stride, i64 bytes) {
  if (target > source) throw nb::value_error("rows move to places before them");
  return [=] {
    for (i64 b = 0; b < batch; ++b)
      for (i64 c = 0; c < channels; ++c) {
        const auto row = static_cast<std::uintptr_t>(b * batch_stride + c * channel_stride);
        move_row(reinterpret_cast<char*>(target + row), reinterpret_cast<const char*>(source + row),
                 bytes);
      }
  };
}

Elements elements(std::uintptr_t data, i64 b, i64 c, i64 l, i64 batch, i64 channels, i64 length,
                  i64 bytes) {
  if (bytes != 2 && bytes != 4 && bytes != 8)
    throw nb::value_error("elements must have 2, 4 or 8 bytes");
  return {data, {batch, channels, length}, {b * bytes, c * bytes, l * bytes}, bytes};
}

auto copy_step(std::uintptr_t target, i64 tb, i64 tc, i64 tl, std::uintptr_t source, i64 sb, i64 sc,
               i64 sl, i64 batch, i64 channels, i64 length, i64 bytes) {
  const Elements to = elements(target, tb, tc, tl, batch, channels, length, bytes),
                 from = elements(source, sb, sc, sl, batch, channels, length, bytes);
  return [=] { copy_elements(to, from); };
}

// NumPy arrays (batch, channels, length); of another number of axes, ones that fit nowhere.
std::vector<Elements> elements_of(nb::sequence arrays, bool written) {
  std::vector<Elements> all;
  for (nb::handle array : arrays) {
    Py_buffer view;
    // (Without the format of the elements: NumPy has none for bfloat16.)
    if (PyObject_GetBuffer(array.ptr(), &view, written ? PyBUF_STRIDED : PyBUF_STRIDES))
      throw nb::python_error();
    Elements each{reinterpret_cast<std::uintptr_t>(view.buf), {-1, -1, -1}, {}, view.itemsize};
    if (view.ndim == 3) {
      std::copy_n(view.shape, 3, each.shape);
      std::copy_n(view.strides, 3, each.strides);
    }
    PyBuffer_Release(&view);
    all.push_back(each);
  }
  return all;
}

bool run_push(Push& push, nb::sequence chunks, nb::sequence results) {
  const std::vector<Elements> from = elements_of(chunks, false), to = elements_of(results, true);
  if (!push.fits(from, to)) return false;
  nb::gil_scoped_release release;
  push.run(from, to);
  return true;
}

void bind_push(nb::module_& m) {
  nb::class_<Push>(m, "Push")
      .def(nb::init<const Steps&, const Steps&>(), nb::keep_alive<1, 2>(), nb::keep_alive<1, 3>())
      .def("input",
           [](Push& self, std::uintptr_t data, i64 b, i64 c, i64 l, i64 batch, i64 channels,
              i64 length, i64 bytes) {
             self.add_input(elements(data, b, c, l, batch, channels, length, bytes));
           })
      .def("output",
           [](Push& self, std::uintptr_t data, i64 b, i64 c, i64 l, i64 batch, i64 channels,
              i64 length, i64 bytes) {
             self.add_output(elements(data, b, c, l, batch, channels, length, bytes));
           })
      .def("run", &run_push)
      .def_prop_ro("seconds", &Push::seconds);
}

}  // namespace

nb::class_<Steps> bind_steps(nb::module_& m) {
  nb::class_<Steps> steps(m, "Steps");
  steps.def(nb::init<>())
      .def("__len__", &Steps::size)
      .def("run", &Steps::run, nb::call_guard<Released>())
      .def("run_timed", &Steps::run_timed, nb::call_guard<Released>())
      // All of another list as a step, which has to be alive.
      .def(
          "nested", [](Steps& self, const Steps& other) { self.add([&other] { other.run(); }); },
          nb::keep_alive<1, 2>())
      // A function of Python as a step.
      .def("call", [](Steps& self, nb::object function) {
        self.add([function = std::move(function)] {
          nb::gil_scoped_acquire acquire;
          const Interruptible no_longer(nullptr);  // Python looks for signals by itself
          function();
        });
      });
  bind_step(m, steps, "copy", &copy_step, std::tuple<>());
  bind_step(m, steps, "move_rows", &move_step, std::tuple<>());
  bind_push(m);
  return steps;
}

}  // namespace fracstride
