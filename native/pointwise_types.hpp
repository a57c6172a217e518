// What pointwise.cpp hands to the units of the instruction sets: a program of elementwise
// operations and the arrays that it is applied to. Data and no code, as in types.hpp.
#pragma once
#include "pointwise_operations.hpp"
#include "types.hpp"

namespace fracstride {

// The functions of the C library that double precision is computed with. (The units of the
// instruction sets include no header that declares them.)
struct Libm {
  double (*exp)(double);
  double (*expm1)(double);
  double (*log)(double);
  double (*log1p)(double);
  double (*sin)(double);
  double (*cos)(double);
  double (*tanh)(double);
  double (*erf)(double);
  double (*erfc)(double);
  double (*power)(double, double);
};

// Places are numbered: first a program's inputs, then its values per channel, then its scalars,
// then its registers. A step reads places and writes a register; the last step's is the result.
template <class S>
struct PointwiseStep {
  Operation operation;
  int target;            // a place
  int a, b, c;           // places; a again where the operation has no such operand
  Sum<S> first, second;  // elu: alpha; clamp: low, high; softplus: beta, threshold
};

constexpr int most_registers = 16;
constexpr int most_steps = 64;
constexpr int most_channel_values = 64;
constexpr int most_sources = most_registers + most_channel_values + 2 * most_steps;
constexpr int most_places = most_sources + most_registers;

template <class S>
struct PointwiseProgram {
  const PointwiseStep<S>* steps;
  int count;
  int inputs, channel_values, scalars, registers;
  int sources;                       // all places that are no registers
  const Sum<S>* const* per_channel;  // an array of each value, one number per channel
  const Sum<S>* scalar;              // to be rounded to S
  const Libm* libm;
};

// Buffers stay in the first-level cache together.
template <class S>
constexpr i64 buffer_numbers = 32 * 1024 / sizeof(Sum<S>);

constexpr i64 most_room = 1024;

// Numbers of each of `count` buffers, whole vectors of any instruction set.
template <class S>
static inline i64 buffer_room(i64 count) {
  constexpr i64 vector = 64 / sizeof(Sum<S>);
  return smaller(buffer_numbers<S> / larger(count, 1) / vector * vector, most_room);
}

// An array along three axes, of which the last is the one that vectors lie along; strides in
// elements.
constexpr int axes = 3;
template <class T>
struct Strided {
  T* data;
  i64 strides[axes];
};

// A program applied to arrays of one size. Numbers of one block are computed step by step while
// they stay in the first-level cache. A block is `block` numbers of the last axis; where that axis
// is short it is `rows` rows of it, which are neighbours on the axis before.
template <class S>
struct PointwiseCall {
  const PointwiseProgram<S>* program;
  i64 size[axes];
  Strided<S> out;
  Strided<const S> inputs[most_registers];
  Strided<const Sum<S>> per_channel[most_channel_values];
  i64 block, rows, room;  // of a buffer: numbers
  i64 blocks[axes];       // along each axis: units are all combinations
};

template <class S>
struct PointwiseKernels {
  i64 lanes;
  // The units [first, last) of a call.
  void (*run)(const PointwiseCall<S>&, i64 first, i64 last);
  // A program of one input applied in place to numbers of one channel. There is room for whole
  // vectors: up to lanes - 1 numbers behind the last one are read and written.
  void (*apply)(const PointwiseProgram<S>&, i64 channel, Sum<S>* values, i64 count);
};

struct PointwiseSet {
  PointwiseKernels<float> f32;
  PointwiseKernels<double> f64;
  PointwiseKernels<float16> f16;
  PointwiseKernels<bfloat16> bf16;
};

}  // namespace fracstride
