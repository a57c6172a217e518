// What Python can call of LSTMs.
#pragma once
#include <nanobind/nanobind.h>

namespace fracstride {

void bind_lstm(nanobind::module_& m);

}  // namespace fracstride
