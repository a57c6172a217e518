// Memory of packed weights. Large ones lie close together in huge pages.
//
// A stream reads all weights of its network at each push, from the third-level cache: 50 MB of a
// vocoder in 12,000 pages of 4 KB, of which the processor remembers the addresses of 2,000. In huge
// pages a push of one frame takes a quarter less.
#pragma once
#include <cstddef>
#include <limits>
#include <memory>
#include <new>

#include "integers.hpp"

namespace fracstride {

void* take_weight_memory(std::size_t bytes);  // at a cache line. std::bad_alloc where there is none
void give_weight_memory_back(void* memory, std::size_t bytes);

// Elements whose values are undefined.
template <class T>
class WeightMemory {
 public:
  WeightMemory() = default;
  explicit WeightMemory(i64 elements)
      : data_(static_cast<T*>(take_weight_memory(bytes_of(elements))), Free{bytes_of(elements)}) {}
  T* data() const { return data_.get(); }

 private:
  static std::size_t bytes_of(i64 elements) {
    if (elements > std::numeric_limits<std::ptrdiff_t>::max() / static_cast<i64>(sizeof(T)))
      throw std::bad_alloc();
    return static_cast<std::size_t>(elements) * sizeof(T);
  }
  struct Free {
    std::size_t bytes = 0;
    void operator()(T* p) const { give_weight_memory_back(p, bytes); }
  };
  std::unique_ptr<T[], Free> data_;
};

}  // namespace fracstride
