// The maps as functions that a compiled program of XLA calls, without Python between them.
#pragma once
#include <cstdint>
#include <map>
#include <string>

namespace fracstride {

// The addresses of the handlers, by name: conv_transpose1d, conv_transpose1d_input_grad,
// conv_transpose1d_weight_grad, conv1d.
std::map<std::string, std::uintptr_t> xla_handlers();

}  // namespace fracstride
