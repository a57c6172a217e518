#include "weight_memory.hpp"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <list>
#include <map>
#include <mutex>
#include <new>

#include "scratch.hpp"

#ifdef __linux__
#include <pthread.h>
#include <sys/mman.h>
#endif

// AddressSanitizer sees no end of a block within a region: there each has memory of its own.
#if !defined(__linux__) || defined(__SANITIZE_ADDRESS__)
#define FS_NO_REGIONS
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FS_NO_REGIONS
#endif
#endif

namespace fracstride {
namespace {

constexpr std::align_val_t line{cache_line};

#ifndef FS_NO_REGIONS
constexpr std::size_t huge_page = 2 * 1024 * 1024;
constexpr std::size_t region_bytes = 16 * huge_page;
constexpr std::size_t least_in_region = 4096;
constexpr std::size_t most_idle = 32 * huge_page;

std::size_t rounded(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

// Pages from the system, and which parts of them are free.
class Region {
 public:
  explicit Region(std::size_t bytes) : size(bytes), mapped_bytes_(bytes + huge_page) {
    free_.emplace(0, size);
    mapped_ =
        mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped_ == MAP_FAILED) throw std::bad_alloc();
    const auto address = reinterpret_cast<std::uintptr_t>(mapped_);
    begin_ = static_cast<char*>(mapped_) + (rounded(address, huge_page) - address);
#ifdef MADV_HUGEPAGE
    madvise(begin_, size, MADV_HUGEPAGE);  // a refusal changes nothing
#endif
  }
  Region(const Region&) = delete;
  ~Region() { munmap(mapped_, mapped_bytes_); }

  // Takes from the smallest free part that is large enough; nullptr where none is.
  char* take(std::size_t bytes) {
    auto best = free_.end();
    for (auto part = free_.begin(); part != free_.end(); ++part)
      if (part->second >= bytes && (best == free_.end() || part->second < best->second))
        best = part;
    if (best == free_.end()) return nullptr;
    const auto [offset, length] = *best;
    if (length > bytes) free_.emplace(offset + bytes, length - bytes);
    free_.erase(best);
    return begin_ + offset;
  }

  void give_back(const char* block, std::size_t bytes) {
    auto offset = static_cast<std::size_t>(block - begin_);
    const auto after = free_.lower_bound(offset);
    if (after != free_.begin()) {
      const auto before = std::prev(after);
      if (before->first + before->second == offset) {
        offset = before->first;
        bytes += before->second;
        free_.erase(before);
      }
    }
    if (after != free_.end() && after->first == offset + bytes) {
      bytes += after->second;
      free_.erase(after);
    }
    free_.emplace(offset, bytes);
  }

  // Gives the pages of all free parts back to the system.
  void trim() const {
    for (const auto& [offset, length] : free_) {
      const std::size_t first = rounded(offset, huge_page);
      const std::size_t last = (offset + length) / huge_page * huge_page;
      if (first < last) madvise(begin_ + first, last - first, MADV_DONTNEED);
    }
  }

  bool has(const char* block) const { return block >= begin_ && block < begin_ + size; }
  bool is_empty() const { return free_.size() == 1 && free_.begin()->second == size; }

  const std::size_t size;

 private:
  const std::size_t mapped_bytes_;
  void* mapped_;
  char* begin_;
  std::map<std::size_t, std::size_t> free_;  // from an offset on, so many bytes
};

class Regions {
 public:
  char* take(std::size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex);
    idle_ -= std::min(idle_, bytes);
    for (Region& region : regions_)
      if (char* block = region.take(bytes)) return block;
    return regions_.emplace_back(std::max(region_bytes, rounded(bytes, huge_page))).take(bytes);
  }

  void give_back(const char* block, std::size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto own = std::find_if(regions_.begin(), regions_.end(),
                                  [&](const Region& region) { return region.has(block); });
    try {
      own->give_back(block, bytes);
    } catch (const std::bad_alloc&) {
      return;  // this part of the region is lost
    }
    idle_ += bytes;
    // One empty region stays: a weight that is packed anew finds memory without page faults.
    const auto empty = [](const Region& region) { return region.is_empty(); };
    if (own->is_empty() &&
        (own->size > region_bytes || std::count_if(regions_.begin(), regions_.end(), empty) > 1))
      regions_.erase(own);
    if (idle_ <= most_idle) return;
    for (const Region& region : regions_) region.trim();
    idle_ = 0;
  }

  std::mutex mutex;

 private:
  std::list<Region> regions_;
  std::size_t idle_ = 0;  // bytes that were given back since the last trim, less those taken since
};

// Never destroyed: a weight may outlive the interpreter.
Regions& regions() {
  static Regions* const all = [] {
    Regions* made = new Regions;
    // A child process has its own copy of all blocks; nobody may hold the lock while it is made.
    pthread_atfork([] { regions().mutex.lock(); }, [] { regions().mutex.unlock(); },
                   [] { regions().mutex.unlock(); });
    return made;
  }();
  return *all;
}

// Made with the module: a process that forks while a thread makes it would leave it half made.
[[maybe_unused]] const Regions& at_start = regions();

bool is_in_region(std::size_t bytes) { return bytes >= least_in_region; }
#endif

}  // namespace

#ifdef FS_NO_REGIONS
void* take_weight_memory(std::size_t bytes) { return ::operator new(bytes, line); }

void give_weight_memory_back(void* memory, std::size_t) { ::operator delete(memory, line); }
#else
void* take_weight_memory(std::size_t bytes) {
  return is_in_region(bytes) ? regions().take(rounded(bytes, cache_line))
                             : ::operator new(bytes, line);
}

void give_weight_memory_back(void* memory, std::size_t bytes) {
  if (is_in_region(bytes))
    regions().give_back(static_cast<const char*>(memory), rounded(bytes, cache_line));
  else
    ::operator delete(memory, line);
}
#endif

}  // namespace fracstride
