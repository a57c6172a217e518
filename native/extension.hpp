// What a signal holds past its ends: twin of fracstride/extension.py, with the same names and
// numbers (test_padding_modes_have_the_numbers_of_python, and all tests against the reference).
// Units that are compiled for different instruction sets include this file: its functions are
// static, so that each has its own.
#pragma once
#include "integers.hpp"

namespace fracstride {

enum Extension : int { zeros = 0, reflect = 1, replicate = 2, circular = 3 };

// In the order of their numbers.
inline constexpr const char* padding_modes[] = {"zeros", "reflect", "replicate", "circular"};

// The position in [0, length) whose value extended position t has, or -1 where it has none.
static inline i64 source_frame(i64 t, i64 length, Extension extension) {
  if (t >= 0 && t < length) return t;
  switch (extension) {
    case zeros: return -1;
    case replicate: return t < 0 ? 0 : length - 1;
    case reflect: {
      if (length == 1) return 0;
      const i64 period = 2 * (length - 1);
      const i64 r = ((t % period) + period) % period;
      return r < length ? r : period - r;
    }
    case circular: return ((t % length) + length) % length;
  }
  __builtin_trap();  // no mode has this number
}

}  // namespace fracstride
