// Threads come from the OpenMP runtime that the process already has, so that one pool serves this
// library and its neighbours. (Built by GCC, as torch is. Clang's runtime is another: two pools.)
#pragma once
#include "types.hpp"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace fracstride {

int get_threads();  // 1 without OpenMP, and in a forked child
void set_threads(int count);
int threads_for(double products);  // threads that so many multiply-adds keep busy
bool has_openmp();
// A forked child has the parent's record of a pool but none of its threads: it works alone.
void watch_forks();
bool forked();

// How the calling thread rounds, and what it does with denormal numbers. Threads of the pool take
// it over for a call: results may depend on it, but not on the thread that computes them.
#if defined(__SSE__)
inline unsigned get_float_mode() { return _mm_getcsr(); }
inline void set_float_mode(unsigned mode) { _mm_setcsr(mode); }
#elif defined(__aarch64__)
inline std::uint64_t get_float_mode() {
  std::uint64_t mode;
  asm volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
inline void set_float_mode(std::uint64_t mode) { asm volatile("msr fpcr, %0" ::"r"(mode)); }
#else
inline int get_float_mode() { return 0; }
inline void set_float_mode(int) {}
#endif

// body(index, count) on `count` threads. The body must not throw.
template <class Body>
void parallel(int count, const Body& body) {
#ifdef _OPENMP
  if (count > 1 && !forked()) {
    const auto callers = get_float_mode();
#pragma omp parallel num_threads(count)
    {
      const auto own = get_float_mode();
      set_float_mode(callers);
#pragma omp for schedule(static, 1) nowait
      for (int i = 0; i < count; ++i) body(i, count);
      set_float_mode(own);
    }
    return;
  }
#endif
  for (int i = 0; i < count; ++i) body(i, count);
}

// body(step, index, count) on `count` threads, for each step: all threads finish a step before one
// begins the next.
template <class Body>
void parallel_steps(int count, i64 steps, const Body& body) {
#ifdef _OPENMP
  if (count > 1 && !forked()) {
    const auto callers = get_float_mode();
#pragma omp parallel num_threads(count)
    {
      const auto own = get_float_mode();
      set_float_mode(callers);
      for (i64 step = 0; step < steps; ++step) {
#pragma omp for schedule(static, 1)
        for (int i = 0; i < count; ++i) body(step, i, count);
      }
      set_float_mode(own);
    }
    return;
  }
#endif
  for (i64 step = 0; step < steps; ++step)
    for (int i = 0; i < count; ++i) body(step, i, count);
}

}  // namespace fracstride
