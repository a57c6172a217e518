// What Python can call of pointwise programs.
#pragma once
#include <nanobind/nanobind.h>

#include <memory>
#include <variant>

#include "pointwise.hpp"

#include "steps_bindings.hpp"

namespace fracstride {

// A program of any dtype.
struct AnyProgram {
  std::variant<std::unique_ptr<Program<float>>, std::unique_ptr<Program<double>>,
               std::unique_ptr<Program<float16>>, std::unique_ptr<Program<bfloat16>>>
      of;
};

void bind_pointwise(nanobind::module_& m, nanobind::class_<Steps>& steps);

}  // namespace fracstride
