#include "pointwise_bindings.hpp"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "dispatch.hpp"
#include "pointwise.hpp"

namespace nb = nanobind;

namespace fracstride {
namespace {

using PythonInstruction = std::tuple<int, int, int, int, double, double>;
using PythonValues = std::pair<std::uintptr_t, i64>;

AnyProgram* make_program(const std::string& dtype, int inputs,
                         const std::vector<PythonInstruction>& instructions,
                         const std::vector<PythonValues>& channel_values) {
  std::vector<Instruction> steps;
  for (const auto& [operation, target, a, b, first, second] : instructions)
    steps.push_back({operation, target, a, b, first, second});
  std::vector<ChannelValues> values;
  for (const auto& [address, count] : channel_values)
    values.push_back({reinterpret_cast<const void*>(address), count});
  auto made = std::make_unique<AnyProgram>();
  if (dtype == "float32")
    made->of = std::make_unique<Program<float>>(inputs, steps, values);
  else if (dtype == "float64")
    made->of = std::make_unique<Program<double>>(inputs, steps, values);
  else if (dtype == "float16")
    made->of = std::make_unique<Program<float16>>(inputs, steps, values);
  else if (dtype == "bfloat16")
    made->of = std::make_unique<Program<bfloat16>>(inputs, steps, values);
  else
    throw std::invalid_argument("dtype is " + dtype +
                                ": it must be float32, float64, float16 or bfloat16");
  return made.release();
}

// The integers of a call, one after another.
class Integers {
 public:
  explicit Integers(const nb::args& arguments) : arguments_(arguments.ptr()) {}

  i64 next() {
    const long long value = PyLong_AsLongLong(PyTuple_GetItem(arguments_, at_++));
    if (value == -1 && PyErr_Occurred()) throw nb::python_error();
    return value;
  }

  template <class S>
  PointwiseArray<S> array() {
    S* data = reinterpret_cast<S*>(static_cast<std::uintptr_t>(next()));
    const i64 batch = next(), channel = next();
    return {data, batch, channel, next()};
  }

 private:
  PyObject* arguments_;
  Py_ssize_t at_ = 0;
};

constexpr double small_cost = 16 * 1024;  // multiply-adds

// A program on arrays of these sizes.
template <class S>
class ProgramCall {
 public:
  ProgramCall(const Program<S>& program, const nb::args& arguments) : program_(&program) {
    const std::size_t wanted = 7 + 4 * static_cast<std::size_t>(program.inputs());
    if (arguments.size() != wanted)
      throw std::invalid_argument("a program of " + std::to_string(program.inputs()) +
                                  " inputs needs " + std::to_string(wanted) +
                                  " integers after it, not " + std::to_string(arguments.size()));
    Integers integers(arguments);
    batch_ = integers.next(), channels_ = integers.next(), length_ = integers.next();
    if (batch_ < 0 || channels_ < 0 || length_ < 0)
      throw std::invalid_argument("batch, channels and length must not be negative");
    if (program.channels() >= 0 && channels_ > program.channels())
      throw std::invalid_argument("there are " + std::to_string(channels_) +
                                  " channels, but the program has values for " +
                                  std::to_string(program.channels()));
    out_ = integers.array<S>();
    for (int i = 0; i < program.inputs(); ++i) inputs_[i] = integers.array<const S>();
  }

  double cost() const { return program_->cost() * real_product(batch_, channels_, length_); }
  void operator()() const { pointwise<S>(*program_, batch_, channels_, length_, out_, inputs_); }

 private:
  const Program<S>* program_;
  i64 batch_, channels_, length_;
  PointwiseArray<S> out_;
  PointwiseArray<const S> inputs_[most_registers];
};

template <class S>
void run(const Program<S>& program, const nb::args& arguments) {
  const ProgramCall<S> call(program, arguments);
  // Other threads of Python run meanwhile, but for a call that is over as soon as they would be.
  std::optional<nb::gil_scoped_release> release;
  if (call.cost() > small_cost) release.emplace();
  call();
}

template <class S>
void add(Steps& steps, const Program<S>& program, const nb::args& arguments) {
  steps.add(ProgramCall<S>(program, arguments));
}

template <class S>
void apply(const Program<S>& program, i64 channel, std::uintptr_t values, i64 count) {
  pointwise_kernels_of<S>(instruction_set())
      .apply(program.program(), channel, reinterpret_cast<Sum<S>*>(values), count);
}

}  // namespace

void bind_pointwise(nb::module_& m, nb::class_<Steps>& steps) {
  nb::class_<AnyProgram>(m, "PointwiseProgram");
  m.def("pointwise_operations", &pointwise_operations);
  m.def("pointwise_program", &make_program, nb::rv_policy::take_ownership);
  m.def("pointwise", [](const AnyProgram& program, const nb::args& arguments) {
    std::visit([&](const auto& of) { run(*of, arguments); }, program.of);
  });
  steps.def(
      "pointwise",
      [](Steps& self, const AnyProgram& program, const nb::args& arguments) {
        std::visit([&](const auto& of) { add(self, *of, arguments); }, program.of);
      },
      nb::keep_alive<1, 2>());
  // For tests: what a kernel that fuses a program does to the row that it holds.
  m.def("pointwise_apply",
        [](const AnyProgram& program, i64 channel, std::uintptr_t values, i64 count) {
          std::visit([&](const auto& of) { apply(*of, channel, values, count); }, program.of);
        });
}

}  // namespace fracstride
