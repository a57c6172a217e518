// What Python can call of pointwise programs.
#pragma once
#include <nanobind/nanobind.h>

namespace fracstride {

void bind_pointwise(nanobind::module_& m);

}  // namespace fracstride
