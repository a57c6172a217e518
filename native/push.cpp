#include "push.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <iterator>

namespace fracstride {
namespace {

// The number to add to an address for a step of any sign.
std::uintptr_t step_of(i64 bytes) { return static_cast<std::uintptr_t>(bytes); }

template <class Element>
void copy_row(std::uintptr_t target, i64 target_stride, std::uintptr_t source, i64 source_stride,
              i64 length) {
  for (i64 n = 0; n < length; ++n)
    std::memcpy(reinterpret_cast<void*>(target + step_of(n * target_stride)),
                reinterpret_cast<const void*>(source + step_of(n * source_stride)),
                sizeof(Element));
}

bool fit(const std::vector<Elements>& places, const std::vector<Elements>& given) {
  return std::equal(places.begin(), places.end(), given.begin(), given.end(),
                    [](const Elements& a, const Elements& b) { return a.fits(b); });
}

}  // namespace

bool Elements::fits(const Elements& other) const {
  return bytes == other.bytes && std::equal(std::begin(shape), std::end(shape), other.shape);
}

void copy_elements(const Elements& target, const Elements& source) {
  const auto& [batch, channels, length] = target.shape;
  const i64 bytes = target.bytes, to_step = target.strides[2], from_step = source.strides[2];
  for (i64 b = 0; b < batch; ++b)
    for (i64 c = 0; c < channels; ++c) {
      const std::uintptr_t to =
                               target.data + step_of(b * target.strides[0] + c * target.strides[1]),
                           from =
                               source.data + step_of(b * source.strides[0] + c * source.strides[1]);
      if (to_step == bytes && from_step == bytes)
        std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from),
                    static_cast<std::size_t>(length * bytes));
      else if (bytes == 2)
        copy_row<std::uint16_t>(to, to_step, from, from_step, length);
      else if (bytes == 4)
        copy_row<std::uint32_t>(to, to_step, from, from_step, length);
      else
        copy_row<std::uint64_t>(to, to_step, from, from_step, length);
    }
}

bool Push::fits(const std::vector<Elements>& chunks, const std::vector<Elements>& results) const {
  return fit(inputs_, chunks) && fit(outputs_, results);
}

void Push::run(const std::vector<Elements>& chunks, const std::vector<Elements>& results) {
  using Clock = std::chrono::steady_clock;
  for (std::size_t i = 0; i < inputs_.size(); ++i) copy_elements(inputs_[i], chunks[i]);
  const auto begin = Clock::now();
  steps_.run();
  seconds_ = std::chrono::duration<double>(Clock::now() - begin).count();
  for (std::size_t i = 0; i < outputs_.size(); ++i) copy_elements(results[i], outputs_[i]);
  after_.run();
}

}  // namespace fracstride
