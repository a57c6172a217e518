// The operations of pointwise programs, in the order of their numbers: for each its name, how many
// operands it reads, and about how many multiply-adds of a convolution cost as much as one result.
// (More than a count of instructions would say: these loops wait for the caches.) Units that are
// compiled for different instruction sets include this file.
#pragma once

#define FS_OPERATIONS(OPERATION) \
  OPERATION(copy, 1, 4)          \
  OPERATION(negative, 1, 4)      \
  OPERATION(absolute, 1, 4)      \
  OPERATION(square, 1, 4)        \
  OPERATION(cube, 1, 4)          \
  OPERATION(sqrt, 1, 16)         \
  OPERATION(rsqrt, 1, 32)        \
  OPERATION(reciprocal, 1, 16)   \
  OPERATION(exp, 1, 24)          \
  OPERATION(expm1, 1, 28)        \
  OPERATION(log, 1, 32)          \
  OPERATION(log1p, 1, 36)        \
  OPERATION(sin, 1, 24)          \
  OPERATION(cos, 1, 24)          \
  OPERATION(tanh, 1, 40)         \
  OPERATION(sigmoid, 1, 40)      \
  OPERATION(erf, 1, 48)          \
  OPERATION(elu, 1, 28)          \
  OPERATION(gelu, 1, 48)         \
  OPERATION(gelu_tanh, 1, 48)    \
  OPERATION(silu, 1, 40)         \
  OPERATION(softplus, 1, 72)     \
  OPERATION(relu, 1, 4)          \
  OPERATION(leaky_relu, 2, 4)    \
  OPERATION(clamp, 1, 4)         \
  OPERATION(power, 2, 400)       \
  OPERATION(add, 2, 4)           \
  OPERATION(subtract, 2, 4)      \
  OPERATION(multiply, 2, 4)      \
  OPERATION(divide, 2, 16)       \
  OPERATION(maximum, 2, 4)       \
  OPERATION(minimum, 2, 4)

// Chains that programs are searched for: as one operation they have the same bits, and cost less.
//     snake: a + sin(a * b)**2 * c, and with a division by c
#define FS_FUSED_OPERATIONS(OPERATION) \
  OPERATION(snake, 3, 28)              \
  OPERATION(snake_divided, 3, 36)

namespace fracstride {

enum class Operation : int {
#define FS_NUMBER(name, operands, weight) name,
  FS_OPERATIONS(FS_NUMBER) FS_FUSED_OPERATIONS(FS_NUMBER)
#undef FS_NUMBER
};

}  // namespace fracstride
