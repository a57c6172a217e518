#include "peak.hpp"

#include <atomic>
#include <cstddef>
#include <cstring>

#include "dispatch.hpp"
#include "threads.hpp"

namespace fracstride {

i64 multiply_adds(i64 rounds) {
  std::atomic<i64> done{0};
  parallel(get_threads(), [&](int, int) {
    float value = 0.5f;
    done += rounds * instruction_set().common->multiply_adds(rounds, value);
    if (value == 0) done = 0;  // it never is; but then it has to be computed
  });
  return done;
}

bool read_floats(const float* values, i64 count) {
  return kernels_of<float>(instruction_set()).all_finite(values, count);
}

void copy_bytes(const void* from, void* to, i64 bytes, i64 times) {
  parallel(get_threads(), [&](int index, int count) {
    const i64 first = share(bytes, index, count), last = share(bytes, index + 1, count);
    for (i64 i = 0; i < times; ++i)
      std::memcpy(static_cast<char*>(to) + first, static_cast<const char*>(from) + first,
                  static_cast<std::size_t>(last - first));
  });
}

}  // namespace fracstride
