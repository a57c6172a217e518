// Threads come from the OpenMP runtime that the process already has, so that one pool serves this
// library and its neighbours. (Built by GCC, as torch is. Clang's runtime is another: two pools.)
#pragma once
#include <algorithm>
#include <atomic>
#include <thread>

#include "types.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace fracstride {

int get_threads();  // 1 without OpenMP, and in a forked child
void set_threads(int count);
int threads_for(double products);  // threads that so many multiply-adds keep busy
bool has_openmp();
// Threads of each parallel region of the calling thread: as many as get_threads, or what the system
// lets it start. OpenMP would end threads that the next region does without, and start them again
// for a larger one; so all regions have as many, and in a small one some of them do nothing.
int team();
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

// Tells the CPU that a loop waits.
inline void pause() {
#if defined(__SSE__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Where so many threads of a region wait for each other. (OpenMP's barrier waits for the whole
// team.)
class alignas(64) Barrier {
 public:
  void wait(int threads) {
    const unsigned round = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      round_.notify_all();
      return;
    }
    // After some time another thread may need this core to arrive.
    constexpr int patience = 2000;
    for (int spins = 0; spins < patience; ++spins) {
      if (round_.load(std::memory_order_acquire) != round) return;
      pause();
    }
    round_.wait(round, std::memory_order_acquire);
  }

 private:
  std::atomic<int> arrived_{0};
  std::atomic<unsigned> round_{0};
};

#ifdef _OPENMP
// work(thread, threads) in each thread of the team.
template <class Work>
void in_team(const Work& work) {
  const auto callers = get_float_mode();
#pragma omp parallel num_threads(team())
  {
    const auto own = get_float_mode();
    set_float_mode(callers);
    work(omp_get_thread_num(), omp_get_num_threads());
    set_float_mode(own);
  }
}
#endif

// body(index, count) for each index below count, on as many threads. The body must not throw.
// Index 0 is the calling thread's.
template <class Body>
void parallel(int count, const Body& body) {
#ifdef _OPENMP
  if (count > 1 && team() > 1)
    return in_team([&](int thread, int threads) {
      for (int i = thread; i < count; i += threads) body(i, count);
    });
#endif
  for (int i = 0; i < count; ++i) body(i, count);
}

// body(step, index, count) as `parallel`, for each step: all threads finish a step before one
// begins the next.
template <class Body>
void parallel_steps(int count, i64 steps, const Body& body) {
#ifdef _OPENMP
  if (count > 1 && team() > 1) {
    Barrier barrier;
    return in_team([&](int thread, int threads) {
      if (thread >= count) return;
      for (i64 step = 0; step < steps; ++step) {
        for (int i = thread; i < count; i += threads) body(step, i, count);
        barrier.wait(std::min(count, threads));
      }
    });
  }
#endif
  for (i64 step = 0; step < steps; ++step)
    for (int i = 0; i < count; ++i) body(step, i, count);
}

}  // namespace fracstride
