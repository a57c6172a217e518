// Memory for packed operands and sums.
#pragma once
#include <memory>
#include <new>

#include "integers.hpp"

namespace fracstride {

constexpr i64 cache_line = 64;  // bytes

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
    void operator()(T* p) const;
  };
  std::unique_ptr<T[], Free> data_{nullptr, Free{}};
};

}  // namespace fracstride
