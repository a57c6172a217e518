// Arithmetic on sizes and positions. Units that are compiled for different instruction sets include
// this file: its functions are static, so that each has its own.
#pragma once
#include <cstdint>

namespace fracstride {

using i64 = std::int64_t;

// The integers first, first + 1, ..., last - 1: frames, shifts or runs, as the name of the function
// or variable says. There are none where last <= first.
struct Range {
  i64 first, last;
};

static inline i64 smaller(i64 a, i64 b) { return a < b ? a : b; }
static inline i64 larger(i64 a, i64 b) { return a > b ? a : b; }

// A number of any sign divided by a positive one, rounded down and up.
static inline i64 floor_div(i64 a, i64 b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }
static inline i64 ceil_div(i64 a, i64 b) { return -floor_div(-a, b); }

// A size, which is never negative, divided and rounded up; and the next multiple of b.
static inline i64 divide_up(i64 a, i64 b) { return (a + b - 1) / b; }
static inline i64 round_up(i64 a, i64 b) { return divide_up(a, b) * b; }

// A product of sizes that may be beyond 64 bits, rounded.
template <class... Sizes>
static inline double real_product(Sizes... sizes) {
  return (1.0 * ... * static_cast<double>(sizes));
}

// The first item of part `index` of `total` items, in `count` parts as equal as they can be.
static inline i64 share(i64 total, i64 index, i64 count) {
  return total / count * index + smaller(index, total % count);
}

}  // namespace fracstride
