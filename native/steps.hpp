// Calls of kernels that are made once and run many times, one after the other: what a network does
// at each call, and a stream at each push. Nothing of Python runs between them.
#pragma once
#include <functional>
#include <utility>
#include <vector>

#include "interrupts.hpp"

namespace fracstride {

class Steps {
 public:
  void add(std::function<void()> step) { steps_.push_back(std::move(step)); }
  std::size_t size() const { return steps_.size(); }

  // Stops between two steps, and within long ones, if Python's handler of a signal raises.
  void run() const {
    for (const auto& step : steps_) {
      if (interrupted()) throw Interrupted();
      step();
    }
  }

  // Runs, and gives the seconds that each step takes.
  std::vector<double> run_timed() const;

 private:
  std::vector<std::function<void()>> steps_;
};

}  // namespace fracstride
