#include "threads.hpp"

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#define FS_PTHREADS
#endif

namespace fracstride {
namespace {
constexpr double products_per_thread = 256 * 1024;  // below which a thread costs more
constexpr int most_threads = 1024;                  // twin of _MOST_THREADS in config.py

std::atomic<int> threads{0};  // 0: what OpenMP offers
std::atomic<bool> in_forked_child{false};

#ifdef FS_PTHREADS
// The bytes of stack that OpenMP gives to its threads by its variable OMP_STACKSIZE ("512k", "4 M";
// kilobytes without a letter), or 0 for the system's default.
std::size_t stack_size() {
  const char* text = std::getenv("OMP_STACKSIZE");
  if (!text) text = std::getenv("GOMP_STACKSIZE");
  if (!text) return 0;
  char* end = nullptr;
  const std::size_t number = std::strtoull(text, &end, 10);
  end += std::strspn(end, " ");
  const std::string units = "BbKkMmGg";
  const std::size_t unit = *end ? units.find(*end) : units.find('K');
  return unit == std::string::npos ? 0 : number << 10 * (unit / 2);
}

void* pass(void* gate) {
  const std::lock_guard<std::mutex> wait(*static_cast<std::mutex*>(gate));
  return nullptr;
}

// How many of `count` threads the system starts beside each other. All of them have ended then.
int threads_that_start(int count) {
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes)) return 0;
  if (const std::size_t bytes = stack_size()) pthread_attr_setstacksize(&attributes, bytes);
  pthread_t handles[most_threads];
  int started = 0;
  std::mutex gate;
  {
    const std::lock_guard<std::mutex> closed(gate);
    while (started < count && !pthread_create(&handles[started], &attributes, pass, &gate))
      ++started;
  }
  for (int i = 0; i < started; ++i) pthread_join(handles[i], nullptr);
  pthread_attr_destroy(&attributes);
  return started;
}
#else
int threads_that_start(int count) { return count; }
#endif
}  // namespace

int get_threads() {
#ifdef _OPENMP
  if (forked()) return 1;
  const int set = threads.load(std::memory_order_relaxed);
  if (set) return set;
  // Oversubscription by OMP_NUM_THREADS is the user's right; a pool beyond reason is not started.
  return std::clamp(omp_get_max_threads(), 1, most_threads);
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

int team() {
  // OpenMP ends the process where a thread is refused, so they are tried before it starts them; by
  // one thread at a time, for two could count on the same.
  static std::mutex starting;
  thread_local int wanted = 0, granted = 1;
  if (forked()) return 1;
  if (const int now = get_threads(); now != wanted) {
    const std::lock_guard<std::mutex> alone(starting);
    granted = now > granted ? granted + threads_that_start(now - granted) : now;
    wanted = now;
#ifdef _OPENMP
#pragma omp parallel num_threads(granted)
    asm volatile("");  // without anything to do, none would be started
#endif
  }
  return granted;
}

void watch_forks() {
#ifdef FS_PTHREADS
  pthread_atfork(nullptr, nullptr, [] { in_forked_child.store(true); });
#endif
}

bool forked() { return in_forked_child.load(std::memory_order_relaxed); }

}  // namespace fracstride
