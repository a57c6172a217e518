#include "output_memory.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <mutex>
#include <new>
#include <unordered_map>
#include <utility>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>
#else
#include <cstdlib>
#endif

namespace fracstride {
namespace {

constexpr std::size_t huge_page = 2 * 1024 * 1024;
[[maybe_unused]] constexpr std::size_t huge_block =
    4 * huge_page;  // from which a page more or less is little
constexpr std::size_t most_waiting = 256 * 1024 * 1024;
constexpr std::uint64_t patience = 256;  // blocks taken while one waits in vain

// Sizes come in steps of at most an eighth, so that a result of nearly the same length finds the
// block of the one before. Pages that nothing is written to take no memory.
std::size_t rounded(std::size_t bytes) {
  std::size_t step = 4096;
  while (step * 16 <= bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

void* from_system(std::size_t bytes) {
#if defined(__unix__) || defined(__APPLE__)
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
#ifdef MADV_HUGEPAGE
  if (bytes >= huge_block) madvise(memory, bytes, MADV_HUGEPAGE);  // a refusal changes nothing
#endif
  return memory;
#else
  return std::malloc(bytes);
#endif
}

void to_system(void* memory, [[maybe_unused]] std::size_t bytes) {
#if defined(__unix__) || defined(__APPLE__)
  munmap(memory, bytes);
#else
  std::free(memory);
#endif
}

struct Waiting {
  void* memory;
  std::uint64_t since;  // how many blocks had been taken when it was given back
  std::uint64_t turn;   // the later it was given back, the more of it is in a cache
};

class Outputs {
 public:
  void* take(std::size_t wanted) {
    const std::size_t bytes = rounded(wanted);
    const std::lock_guard<std::mutex> lock(mutex);
    if (++taken_ % patience == 0) most_ = std::max(in_use_, std::exchange(recently_, 0));
    const auto end = waiting_.upper_bound(bytes + bytes / 4);
    const auto found = std::max_element(
        waiting_.lower_bound(bytes), end,
        [](const auto& a, const auto& b) { return a.second.turn < b.second.turn; });
    void* memory = nullptr;
    std::size_t size = bytes;
    if (found != end) {
      size = found->first;
      memory = found->second.memory;
      waiting_.erase(found);
      waiting_bytes_ -= size;
    } else {
      memory = from_system(bytes);
      if (!memory) return nullptr;
    }
    try {
      sizes_.emplace(memory, size);
    } catch (const std::bad_alloc&) {
      to_system(memory, size);
      return nullptr;
    }
    in_use_ += size;
    recently_ = std::max(recently_, in_use_);
    most_ = std::max(most_, in_use_);
    trim();
    return memory;
  }

  void give_back(void* memory) {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = sizes_.find(memory);
    const std::size_t size = found->second;
    sizes_.erase(found);
    in_use_ -= size;
    try {
      waiting_.emplace(size, Waiting{memory, taken_, ++turns_});
    } catch (const std::bad_alloc&) {
      return to_system(memory, size);
    }
    waiting_bytes_ += size;
    trim();
  }

  OutputMemory state() {
    const std::lock_guard<std::mutex> lock(mutex);
    return {in_use_, waiting_bytes_};
  }

  void release() {
    const std::lock_guard<std::mutex> lock(mutex);
    most_ = recently_ = in_use_;
    trim();
  }

  std::mutex mutex;

 private:
  // Gives back what is too much, the longest waiting first, and what waits in vain.
  void trim() {
    const std::size_t bound = std::min(2 * most_, most_waiting);
    while (!waiting_.empty()) {
      const auto oldest = std::min_element(
          waiting_.begin(), waiting_.end(),
          [](const auto& a, const auto& b) { return a.second.since < b.second.since; });
      if (waiting_bytes_ <= bound && taken_ - oldest->second.since <= patience) return;
      to_system(oldest->second.memory, oldest->first);
      waiting_bytes_ -= oldest->first;
      waiting_.erase(oldest);
    }
  }

  std::multimap<std::size_t, Waiting> waiting_;
  std::unordered_map<void*, std::size_t> sizes_;  // of those in use
  std::size_t in_use_ = 0, waiting_bytes_ = 0;
  std::size_t most_ = 0, recently_ = 0;  // in use at once; since the last round of `patience`
  std::uint64_t taken_ = 0, turns_ = 0;
};

// Never destroyed: results may outlive the interpreter.
Outputs& outputs() {
  static Outputs* const all = [] {
    Outputs* made = new Outputs;
#if defined(__unix__) || defined(__APPLE__)
    // A child process has its own copy of all blocks; nobody may hold the lock while it is made.
    pthread_atfork([] { outputs().mutex.lock(); }, [] { outputs().mutex.unlock(); },
                   [] { outputs().mutex.unlock(); });
#endif
    return made;
  }();
  return *all;
}

}  // namespace

void* take_output(std::size_t bytes) { return outputs().take(bytes); }

void give_output_back(void* memory) { outputs().give_back(memory); }

OutputMemory output_memory() { return outputs().state(); }

void release_outputs() { outputs().release(); }

}  // namespace fracstride
