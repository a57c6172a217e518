// Ctrl-C in a long call. Python can run its signal handlers only when a call asks it to, so the
// kernels of layers and the steps of networks ask now and then, and stop where a handler raised.
#pragma once
#include <algorithm>
#include <atomic>
#include <exception>

#include "integers.hpp"

namespace fracstride {

// Thrown by a call that stops. Its results are written in part. Whoever asked knows the reason.
struct Interrupted : std::exception {
  const char* what() const noexcept override { return "interrupted"; }
};

// While it exists, calls of the thread that made it ask `pending` whether to stop, every tenth of a
// second. Without `pending` they do not stop.
class Interruptible {
 public:
  explicit Interruptible(bool (*pending)());
  ~Interruptible();
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;

 private:
  bool (*outer_)();  // of a call around this one: a network may call a function of Python
};

// Whether the calling thread's call is to stop.
bool interrupted();

// What the threads of one call compute, in slices of some units between which they may stop.
class Slices {
 public:
  // Slices of at most so many multiply-adds, but of whole groups of units, such as those that read
  // the same packed frames.
  Slices(double products_of_unit, i64 group)
      : group_(group),
        groups_(static_cast<i64>(
            most_products /
            std::clamp(products_of_unit * static_cast<double>(group), 1.0, most_products))) {}

  // run(first, last) of the slices of units [first, last). The thread of the call itself asks.
  template <class Run>
  void run(i64 first, i64 last, bool asks, std::atomic<bool>& stop, const Run& run) const {
    while (first < last && !stop.load(std::memory_order_relaxed)) {
      const i64 next = std::min(last, (first / group_ + groups_) * group_);
      run(first, next);
      first = next;
      if (asks && first < last && interrupted()) stop.store(true, std::memory_order_relaxed);
    }
  }

 private:
  static constexpr double most_products = 1e9;  // some hundredths of a second
  i64 group_, groups_;
};

}  // namespace fracstride
