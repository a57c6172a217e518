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

}  // namespace

template <class T>
Scratch<T>::Scratch(i64 elements) {
  constexpr i64 most = std::numeric_limits<std::ptrdiff_t>::max() / sizeof(T);
  if (elements > most) throw std::bad_alloc();
  const std::size_t size = static_cast<std::size_t>(std::max<i64>(elements, 1)) * sizeof(T);
  const std::align_val_t alignment{size < huge_block ? std::size_t{cache_line} : huge_page};
  data_ = {static_cast<T*>(::operator new(size, alignment)), Free{alignment}};
#ifdef MADV_HUGEPAGE
  // Fresh memory of this size is mostly page faults otherwise. A refusal changes nothing.
  if (size >= huge_block) madvise(data_.get(), size, MADV_HUGEPAGE);
#endif
}

template <class T>
void Scratch<T>::Free::operator()(T* p) const {
  ::operator delete(p, alignment);
}

template class Scratch<float>;
template class Scratch<double>;
template class Scratch<float16>;
template class Scratch<bfloat16>;

}  // namespace fracstride
