// What the machine can do at best, for benchmarks to compare with.
#pragma once
#include "integers.hpp"

namespace fracstride {

// Multiply-adds on registers by all threads, `rounds` times each; returns their number.
i64 multiply_adds(i64 rounds);

// Reads floats once, by one thread; returns whether all are finite.
bool read_floats(const float* values, i64 count);

// Copies by all threads, `times` times.
void copy_bytes(const void* from, void* to, i64 bytes, i64 times);

}  // namespace fracstride
