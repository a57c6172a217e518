#include "threads.hpp"

#include <algorithm>
#include <atomic>

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace fracstride {
namespace {
constexpr double products_per_thread = 256 * 1024;  // below which a thread costs more

std::atomic<int> threads{0};  // 0: what OpenMP offers
std::atomic<bool> in_forked_child{false};
}  // namespace

int get_threads() {
#ifdef _OPENMP
  if (forked()) return 1;
  const int set = threads.load(std::memory_order_relaxed);
  if (set) return set;
  // Oversubscription by OMP_NUM_THREADS is the user's right; a pool beyond reason is not started.
  return std::clamp(omp_get_max_threads(), 1, 1024);
#else
  return 1;
#endif
}

void set_threads(int count) { threads.store(count, std::memory_order_relaxed); }

int threads_for(double products) {
  return static_cast<int>(std::clamp<double>(products / products_per_thread, 1, get_threads()));
}

bool has_openmp() {
#ifdef _OPENMP
  return true;
#else
  return false;
#endif
}

void watch_forks() {
#if defined(__unix__) || defined(__APPLE__)
  pthread_atfork(nullptr, nullptr, [] { in_forked_child.store(true); });
#endif
}

bool forked() { return in_forked_child.load(std::memory_order_relaxed); }

}  // namespace fracstride
