#include "scratch.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>

#include "types.hpp"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace fracstride {
namespace {

constexpr std::size_t huge_page = 2 * 1024 * 1024;
constexpr std::size_t huge_block = 32 * 1024 * 1024;  // free() gives a block of this size back

// A thread keeps the largest block of up to this size that it has freed for its next call: free()
// would give it back to the system, and the next call would begin with page faults. (Not under
// AddressSanitizer, which then finds what is written behind a smaller block.)
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t largest_kept = 0;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr std::size_t largest_kept = 0;
#else
constexpr std::size_t largest_kept = 2 * 1024 * 1024;
#endif
#else
constexpr std::size_t largest_kept = 2 * 1024 * 1024;
#endif

struct Kept {
  void* block = nullptr;
  std::size_t size = 0;
  bool open = true;  // until the thread ends

  ~Kept() {
    open = false;
    ::operator delete(block, std::align_val_t{cache_line});
    block = nullptr;
  }
};

thread_local Kept kept;

// The kept block, if it is large enough; `size` becomes its size.
void* take_kept(std::size_t& size) {
  if (!kept.block || kept.size < size) return nullptr;
  size = kept.size;
  void* block = kept.block;
  kept.block = nullptr;
  return block;
}

// Keeps a block in place of a smaller one. Returns whether it does.
bool keep(void* block, std::size_t size) {
  if (!kept.open || size > largest_kept || (kept.block && kept.size >= size)) return false;
  ::operator delete(kept.block, std::align_val_t{cache_line});
  kept.block = block;
  kept.size = size;
  return true;
}

}  // namespace

template <class T>
Scratch<T>::Scratch(i64 elements) {
  constexpr i64 most = std::numeric_limits<std::ptrdiff_t>::max() / sizeof(T);
  if (elements > most) throw std::bad_alloc();
  std::size_t size = static_cast<std::size_t>(std::max<i64>(elements, 1)) * sizeof(T);
  if (void* block = take_kept(size)) {
    data_ = {static_cast<T*>(block), Free{std::align_val_t{cache_line}, size}};
    return;
  }
  const std::align_val_t alignment{size < huge_block ? std::size_t{cache_line} : huge_page};
  data_ = {static_cast<T*>(::operator new(size, alignment)), Free{alignment, size}};
#ifdef MADV_HUGEPAGE
  // Fresh memory of this size is mostly page faults otherwise. A refusal changes nothing.
  if (size >= huge_block) madvise(data_.get(), size, MADV_HUGEPAGE);
#endif
}

template <class T>
void Scratch<T>::Free::operator()(T* p) const {
  if (alignment != std::align_val_t{cache_line} || !keep(p, size)) ::operator delete(p, alignment);
}

template class Scratch<float>;
template class Scratch<double>;
template class Scratch<float16>;
template class Scratch<bfloat16>;

}  // namespace fracstride
