#include "fingerprint.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace fracstride {
namespace {

constexpr i64 piece = 32;         // bytes of one place: most of what it costs is to get there
constexpr i64 small = 16 * 1024;  // bytes that are compared as a whole
constexpr i64 first_places = 64;  // what a call of a single frame looks at

// The next of `count` places after one of them: a step near the part `ratio` of all, with which a
// walk comes everywhere before it returns, and after any number of steps has been in every part.
i64 step_through(i64 count, double ratio) {
  i64 step = std::max<i64>(1, static_cast<i64>(static_cast<double>(count) * ratio));
  while (std::gcd(step, count) != 1) ++step;
  return step;
}

struct Extremes {
  i64 largest = 0, smallest = 0, nearest_to_zero = 0, nan = -1;  // elements
};

// Bits of numbers are compared as integers, in the order of the numbers.
template <class Bits>
Extremes extremes_of(const char* weight, i64 count, std::uint64_t infinity) {
  constexpr Bits sign = static_cast<Bits>(Bits{1} << (sizeof(Bits) * 8 - 1));
  const Bits finite = static_cast<Bits>(infinity);
  Extremes found;
  Bits most = 0, least = static_cast<Bits>(-1), nearest = static_cast<Bits>(-1);
  for (i64 i = 0; i < count; ++i) {
    Bits bits;
    std::memcpy(&bits, weight + i * static_cast<i64>(sizeof(Bits)), sizeof(Bits));
    const Bits magnitude = static_cast<Bits>(bits & ~sign);
    if (magnitude > finite) {
      found.nan = i;
      continue;
    }
    const Bits rank = static_cast<Bits>(bits & sign ? ~bits : bits | sign);
    if (rank > most) most = rank, found.largest = i;
    if (rank < least) least = rank, found.smallest = i;
    if (static_cast<Bits>(magnitude - 1) < nearest)  // zero less one is the most
      nearest = static_cast<Bits>(magnitude - 1), found.nearest_to_zero = i;
  }
  return found;
}

}  // namespace

Fingerprint::Fingerprint(const void* weight_, i64 rows, i64 columns, i64 taps, i64 bytes,
                         std::uint64_t infinity) {
  const char* weight = static_cast<const char*>(weight_);
  const i64 count = rows * columns * taps, total = count * bytes;
  if (total <= small) {
    values_.assign(weight, weight + total);
    return;
  }
  const Extremes found = bytes == 2   ? extremes_of<std::uint16_t>(weight, count, infinity)
                         : bytes == 4 ? extremes_of<std::uint32_t>(weight, count, infinity)
                                      : extremes_of<std::uint64_t>(weight, count, infinity);
  for (const i64 element :
       {found.largest, found.smallest, found.nearest_to_zero, std::max<i64>(found.nan, 0)})
    take(weight, element, bytes, total);
  const i64 most = std::max({rows, columns, taps, first_places});
  const i64 row_step = step_through(rows, 0.6180339887),
            column_step = step_through(columns, 0.4142135624);
  const i64 tap_step = step_through(taps, 0.7320508076);
  i64 row = 0, column = 0, tap = 0;
  for (i64 i = 0; i < most; ++i) {
    take(weight, (row * columns + column) * taps + tap, bytes, total);
    row = (row + row_step) % rows;
    column = (column + column_step) % columns;
    tap = (tap + tap_step) % taps;
  }
  places_per_frame_ = std::max<i64>(1, total / (512 * 1024));
}

// The whole piece that the element lies in; one at the end of a weight may lie in none.
void Fingerprint::take(const char* weight, i64 element, i64 bytes, i64 total) {
  const i64 place = std::min(element * bytes / piece * piece, total - piece);
  places_.push_back(place);
  values_.insert(values_.end(), weight + place, weight + place + piece);
}

bool Fingerprint::matches(const void* weight_, i64 frames) const {
  const char *weight = static_cast<const char*>(weight_), *values = values_.data();
  if (places_.empty()) return std::memcmp(weight, values, values_.size()) == 0;
  const i64 all = static_cast<i64>(places_.size());
  const i64 count = first_places + std::min(frames, all) * places_per_frame_;
  std::uint64_t different = 0;  // no early end: the loads of all places are under way at once
  for (i64 i = 0; i < std::min(all, 4 + count); ++i) {
    std::uint64_t now[piece / 8], then[piece / 8];
    std::memcpy(now, weight + places_[static_cast<std::size_t>(i)], piece);
    std::memcpy(then, values + i * piece, piece);
    for (i64 j = 0; j < piece / 8; ++j) different |= now[j] ^ then[j];
  }
  return different == 0;
}

}  // namespace fracstride
