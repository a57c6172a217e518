// Threads come from the OpenMP runtime that the process already has, so that one pool serves this
// library and its neighbours.
#pragma once
#include <exception>

#include "types.hpp"

namespace fracstride {

int get_threads();
void set_threads(int count);
bool has_openmp();
// After a fork the child has the parent's pool on paper and none of its threads: it works alone.
void watch_forks();
bool forked();

// body(index, count) on `count` threads. The body must not throw.
template <class Body>
void parallel(int count, const Body& body) {
#ifdef _OPENMP
  if (count > 1 && !forked()) {
#pragma omp parallel num_threads(count)
    {
#pragma omp for schedule(static, 1)
      for (int i = 0; i < count; ++i) body(i, count);
    }
    return;
  }
#endif
  for (int i = 0; i < count; ++i) body(i, count);
}

}  // namespace fracstride
