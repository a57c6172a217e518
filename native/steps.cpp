#include "steps.hpp"

#include <chrono>

namespace fracstride {

std::vector<double> Steps::run_timed() const {
  using Clock = std::chrono::steady_clock;
  std::vector<double> seconds;
  seconds.reserve(steps_.size());
  for (const auto& step : steps_) {
    if (interrupted()) throw Interrupted();
    const auto before = Clock::now();
    step();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - before).count());
  }
  return seconds;
}

}  // namespace fracstride
