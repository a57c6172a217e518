// What Python can call of LSTMs.
#pragma once
#include <nanobind/nanobind.h>

#include "steps_bindings.hpp"

namespace fracstride {

void bind_lstm(nanobind::module_& m, nanobind::class_<Steps>& steps);

}  // namespace fracstride
