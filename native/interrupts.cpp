#include "interrupts.hpp"

#include <chrono>

namespace fracstride {
namespace {
using Clock = std::chrono::steady_clock;
constexpr auto between = std::chrono::milliseconds(100);

thread_local bool (*asked)() = nullptr;  // of the Interruptible of this thread
thread_local Clock::time_point next;
}  // namespace

Interruptible::Interruptible(bool (*pending)()) : outer_(asked) {
  asked = pending;
  next = Clock::now() + between;
}

Interruptible::~Interruptible() { asked = outer_; }

bool interrupted() {
  if (!asked) return false;
  const auto now = Clock::now();
  if (now < next) return false;
  next = now + between;
  return asked();
}

}  // namespace fracstride
