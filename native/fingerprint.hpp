// What is looked at to see whether a weight has changed, at a fraction of comparing all of it.
#pragma once
#include <cstdint>
#include <vector>

#include "integers.hpp"

namespace fracstride {

// Values of a weight (rows, columns, taps), compared byte by byte with those of the weight that it
// was made of. Of a small weight all values. Of a larger one, values in every part of it, at places
// without a period. First among them are those that a clamp, a threshold or a replacement of NaNs
// changes: the largest, the smallest, the one nearest to zero that is not zero, and a NaN. The
// places depend on the weight alone.
class Fingerprint {
 public:
  // `infinity` is the bits of infinity, in `bytes` (2, 4, 8) of a number of the weight.
  Fingerprint(const void* weight, i64 rows, i64 columns, i64 taps, i64 bytes,
              std::uint64_t infinity);

  // Whether another weight of the same shape has these values. The more frames the weight is about
  // to be used for, the more places are looked at: a few hundredths of what the frames cost. These
  // are soon as many as the longest side of the weight has, and then in all its rows, columns and
  // taps.
  bool matches(const void* weight, i64 frames) const;

 private:
  void take(const char* weight, i64 element, i64 bytes, i64 total);
  std::vector<i64> places_;  // where each piece lies, in bytes; none if all bytes are looked at
  std::vector<char> values_;
  i64 places_per_frame_ = 0;
};

}  // namespace fracstride
