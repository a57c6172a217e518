// The operations of pointwise programs, in the order of their numbers: for each its name, how many
// operands it reads, and about how many multiply-adds of a convolution take as long as one result.
// Units that are compiled for different instruction sets include this file.
#pragma once

#define FS_OPERATIONS(OPERATION) \
  OPERATION(copy, 1, 4)          \
  OPERATION(negative, 1, 4)      \
  OPERATION(absolute, 1, 4)      \
  OPERATION(square, 1, 4)        \
  OPERATION(cube, 1, 4)          \
  OPERATION(sqrt, 1, 10)         \
  OPERATION(rsqrt, 1, 11)        \
  OPERATION(reciprocal, 1, 8)    \
  OPERATION(exp, 1, 12)          \
  OPERATION(expm1, 1, 16)        \
  OPERATION(log, 1, 24)          \
  OPERATION(log1p, 1, 26)        \
  OPERATION(sin, 1, 14)          \
  OPERATION(cos, 1, 20)          \
  OPERATION(tanh, 1, 26)         \
  OPERATION(sigmoid, 1, 26)      \
  OPERATION(erf, 1, 36)          \
  OPERATION(elu, 1, 14)          \
  OPERATION(gelu, 1, 44)         \
  OPERATION(gelu_tanh, 1, 28)    \
  OPERATION(silu, 1, 22)         \
  OPERATION(softplus, 1, 70)     \
  OPERATION(relu, 1, 4)          \
  OPERATION(leaky_relu, 2, 4)    \
  OPERATION(clamp, 1, 4)         \
  OPERATION(power, 2, 600)       \
  OPERATION(add, 2, 4)           \
  OPERATION(subtract, 2, 4)      \
  OPERATION(multiply, 2, 4)      \
  OPERATION(divide, 2, 8)        \
  OPERATION(maximum, 2, 4)       \
  OPERATION(minimum, 2, 4)

// Chains that programs are searched for: as one operation they have the same bits, and cost less.
//     snake: a + sin(a * b)**2 * c, and with a division by c
#define FS_FUSED_OPERATIONS(OPERATION) \
  OPERATION(snake, 3, 20)              \
  OPERATION(snake_divided, 3, 28)

namespace fracstride {

enum class Operation : int {
#define FS_NUMBER(name, operands, weight) name,
  FS_OPERATIONS(FS_NUMBER) FS_FUSED_OPERATIONS(FS_NUMBER)
#undef FS_NUMBER
};

}  // namespace fracstride
