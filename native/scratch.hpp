// Memory for packed operands and sums.
#pragma once
#include <cstddef>
#include <memory>
#include <new>

#include "integers.hpp"

namespace fracstride {

constexpr i64 cache_line = 64;  // bytes

// Rounded up to whole cache lines, so that no two threads write to the same one.
template <class T>
i64 whole_lines(i64 elements) {
  return round_up(elements, cache_line / static_cast<i64>(sizeof(T)));
}

// Elements whose values are undefined, in whole cache lines. std::bad_alloc where there is no
// memory.
template <class T>
class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(i64 elements);
  T* data() const { return data_.get(); }

 private:
  struct Free {
    std::align_val_t alignment{};
    std::size_t size = 0;
    void operator()(T* p) const;
  };
  std::unique_ptr<T[], Free> data_{nullptr, Free{}};
};

}  // namespace fracstride
