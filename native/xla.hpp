// The maps as functions that a compiled program of XLA calls, without Python between them.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "xla_abi.hpp"

namespace fracstride {

// By name: conv_transpose1d, conv_transpose1d_input_grad, conv_transpose1d_weight_grad, conv1d.
std::vector<std::pair<std::string, xla::Handler*>> xla_handlers();

}  // namespace fracstride
