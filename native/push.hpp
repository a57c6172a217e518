// A push of a stream: chunks are copied into memory of the network, its steps run, results are
// copied out, and what is kept moves to its place.
#pragma once
#include <cstdint>
#include <vector>

#include "integers.hpp"
#include "steps.hpp"

namespace fracstride {

// A signal (batch, channels, length) of elements with so many bytes; strides in bytes.
struct Elements {
  std::uintptr_t data;
  i64 shape[3], strides[3];
  i64 bytes;

  bool fits(const Elements& other) const;
};

// Copies a signal to another of the same shape. A stride of 0 in the source repeats a number.
void copy_elements(const Elements& target, const Elements& source);

class Push {
 public:
  // The steps, and those behind the results: both have to outlive this.
  Push(const Steps& steps, const Steps& after) : steps_(steps), after_(after) {}

  // Where the next chunk is written; where the next result is read.
  void add_input(const Elements& place) { inputs_.push_back(place); }
  void add_output(const Elements& place) { outputs_.push_back(place); }

  // Whether chunks and results are as many and as large as the places.
  bool fits(const std::vector<Elements>& chunks, const std::vector<Elements>& results) const;
  void run(const std::vector<Elements>& chunks, const std::vector<Elements>& results);
  double seconds() const { return seconds_; }  // of the steps, in the last run

 private:
  const Steps &steps_, &after_;
  std::vector<Elements> inputs_, outputs_;
  double seconds_ = 0;
};

}  // namespace fracstride
