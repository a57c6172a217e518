// T, C, R and the Conv1d for XLA. Sizes come with the buffers; what they do not say is one
// attribute, an array of integers: stride, dilation, groups, padding_left, the number of the
// padding mode and, of C, the frames outside the input as `edges` (kernel_table.py). Python has
// checked them when the program was traced, but a program that was exported to a file can be
// edited. So everything that decides about memory is checked again.
#include "xla.hpp"

#include <cstring>
#include <iterator>
#include <new>

#include "maps.hpp"
#include "xla_abi.hpp"

namespace fracstride {
namespace {

constexpr i64 largest = i64{1} << 62;              // MAX_SIZE of arguments.py
constexpr int oldest_minor = 1, newest_minor = 3;  // of interface 0.x, as far as it was tested

struct Refusal {
  const char* reason;
};

void require(bool holds, const char* reason) {
  if (!holds) throw Refusal{reason};
}

// The operands of all maps. Tap m of frame t lands on sample t*s + m*d - padding_left; of a Conv1d,
// the input has the samples, and the output the frames.
struct Operands {
  const xla::Buffer *frames, *samples, *weight, *bias;
};

enum class Map { forward, input_grad, weight_grad, conv1d };

const xla::Buffer* buffer(const xla::Operands& operands, i64 index, i64 rank) {
  require(operands.types[index] == xla::buffer_operand, "an operand is no buffer");
  const auto* found = static_cast<const xla::Buffer*>(operands.values[index]);
  require(found->rank == rank, "an operand has another rank");
  return found;
}

Operands operands_of(const xla::Call& call, Map map) {
  const bool has_bias = call.arguments.count == 3;
  require(call.arguments.count == 2 || has_bias, "another number of arguments than 2 or 3");
  require(call.results.count == 1, "another number of results than 1");
  const xla::Buffer* first = buffer(call.arguments, 0, 3);
  const xla::Buffer* second = buffer(call.arguments, 1, 3);
  const xla::Buffer* result = buffer(call.results, 0, 3);
  const xla::Buffer* bias = has_bias ? buffer(call.arguments, 2, 1) : nullptr;
  require(first->dtype == second->dtype && first->dtype == result->dtype &&
              (!bias || bias->dtype == first->dtype),
          "operands of several dtypes");
  require(!has_bias || map == Map::forward || map == Map::conv1d, "a gradient with a bias");
  switch (map) {
    case Map::forward: return {first, result, second, bias};
    case Map::weight_grad: return {first, second, result, nullptr};
    default: return {result, first, second, bias};
  }
}

struct Sizes {
  i64 batch;
  Layer layer;
  i64 padding_left;
  Outside outside;
};

// Whether positions, up to that of the last tap of the last frame, are numbers of 64 bits, and the
// samples are as many as some layer has: the last tap and the largest output padding, or remainder
// of a Conv1d, reach beyond them.
bool fits(const Layer& layer, i64 frames, i64 samples, i64 padding_left) {
  i64 reach = 0, span = 0, last = 0;
  if (__builtin_mul_overflow(layer.dilation, layer.kernel - 1, &span) ||
      __builtin_mul_overflow(layer.stride, frames - 1, &reach) ||
      __builtin_add_overflow(reach, span, &last) || last >= largest || padding_left >= largest ||
      samples > largest || larger(layer.stride, layer.dilation) > largest)
    return false;
  return samples + padding_left <= last + larger(layer.stride, layer.dilation);
}

// The frames outside the input that have a tap on some sample: start0, stop0, start1, stop1, ...
// from the fifth integer of the array on. A frame lies where a tap of it reaches a sample, and
// there are no more frames than taps on samples, so an edited program does not ask for more memory
// than one of a layer does.
std::vector<Range> intervals_of(const xla::Array& array, const Layer& layer, i64 frames,
                                i64 samples, i64 left) {
  require((array.size - 5) % 2 == 0, "half an interval among the edges");
  std::vector<Range> intervals((array.size - 5) / 2);
  if (intervals.empty()) return intervals;
  std::memcpy(intervals.data(), static_cast<const char*>(array.data) + 5 * sizeof(i64),
              intervals.size() * sizeof(Range));
  const i64 span = layer.dilation * (layer.kernel - 1), s = layer.stride;
  const i64 earliest = ceil_div(left - span, s), latest = floor_div(samples - 1 + left, s);
  i64 most = 0, count = 0, after = earliest;
  if (__builtin_mul_overflow(layer.kernel, divide_up(samples, s), &most)) most = largest;
  for (const Range& interval : intervals) {
    require(
        after <= interval.first && interval.first < interval.last && interval.last <= latest + 1,
        "edges that no tap reaches, or in another order");
    require(interval.last <= 0 || interval.first >= frames, "an edge inside the input");
    after = interval.last;
    count += interval.last - interval.first;
  }
  require(count <= most, "more edges than taps on samples");
  return intervals;
}

Sizes sizes_of(const xla::Call& call, const Operands& of, Map map) {
  const xla::Attributes& attributes = call.attributes;
  require(attributes.count == 1 && attributes.types[0] == xla::array_attribute,
          "other attributes than one array");
  const auto& array = *static_cast<const xla::Array*>(attributes.values[0]);
  require(array.dtype == xla::DType::s64 && array.size >= 5, "fewer than 5 integers as sizes");
  i64 numbers[5];
  std::memcpy(numbers, array.data, sizeof numbers);
  const auto [stride, dilation, groups, left, mode] = numbers;
  const i64 *frames = of.frames->dims, *samples = of.samples->dims, *weight = of.weight->dims;
  require(0 <= mode && mode < static_cast<i64>(std::size(padding_modes)),
          "an unknown padding mode");
  require(stride >= 1 && dilation >= 1 && groups >= 1 && left >= 0, "a size that is too small");
  require(frames[0] >= 0 && frames[2] >= 1 && samples[2] >= 1 && weight[0] >= 1 && weight[1] >= 1 &&
              weight[2] >= 1,
          "an operand without elements");
  require(weight[0] % groups == 0 && frames[1] == weight[0] && samples[1] % groups == 0 &&
              samples[1] / groups == weight[1] && samples[0] == frames[0],
          "operands whose shapes do not fit together");
  if (of.bias)
    require(of.bias->dims[0] == (map == Map::forward ? samples : frames)[1],
            "a bias that does not fit");
  const Layer layer{groups, weight[0] / groups, weight[1], weight[2], stride, dilation};
  require(fits(layer, frames[2], samples[2], left), "sizes that belong to no layer");
  const auto extension = static_cast<Extension>(mode);
  require((map == Map::input_grad && extension != zeros) || array.size == 5,
          "more than 5 integers as sizes");
  return {
      frames[0], layer, left, {extension, intervals_of(array, layer, frames[2], samples[2], left)}};
}

template <class S>
Signal<S> signal(const xla::Buffer& buffer) {
  const i64 channels = buffer.dims[1], length = buffer.dims[2];
  return {static_cast<S*>(buffer.data), channels * length, length, 1, length};
}

template <class S>
void compute(const Operands& of, const Sizes& sizes, Map map) {
  const Layer& layer = sizes.layer;
  const i64 batch = sizes.batch, left = sizes.padding_left;
  const Extension mode = sizes.outside.extension;
  auto* weight = static_cast<S*>(of.weight->data);
  if (batch == 0) {  // then the other axes of the signals may be of any size
    if (map == Map::weight_grad)
      std::memset(of.weight->data, 0,
                  sizeof(S) * static_cast<std::size_t>(layer.groups * layer.in_channels *
                                                       layer.out_channels * layer.kernel));
    return;
  }
  const auto packed = [&](Direction direction) {
    return PackedWeight<S>(weight, layer, direction, Packing::once);
  };
  const S* bias = of.bias ? static_cast<const S*>(of.bias->data) : nullptr;
  switch (map) {
    case Map::forward:
      return forward<S>(packed(Direction::forward), batch, signal<const S>(*of.frames), bias,
                        signal<S>(*of.samples), left, mode);
    case Map::conv1d:
      return forward<S>(packed(Direction::conv1d), batch, signal<const S>(*of.samples), bias,
                        signal<S>(*of.frames), left, mode);
    case Map::input_grad:
      return input_grad<S>(packed(Direction::input_grad), batch, signal<const S>(*of.samples),
                           signal<S>(*of.frames), left, sizes.outside);
    case Map::weight_grad:
      return weight_grad<S>(layer, batch, signal<const S>(*of.frames), signal<const S>(*of.samples),
                            weight, left, mode);
  }
}

void run(const xla::Call& call, Map map) {
  const Operands operands = operands_of(call, map);
  const Sizes sizes = sizes_of(call, operands, map);
  switch (operands.frames->dtype) {
    case xla::DType::f32: return compute<float>(operands, sizes, map);
    case xla::DType::f64: return compute<double>(operands, sizes, map);
    case xla::DType::f16: return compute<float16>(operands, sizes, map);
    case xla::DType::bf16: return compute<bfloat16>(operands, sizes, map);
    default: throw Refusal{"operands of a dtype that the kernels do not read"};
  }
}

xla::Error* error(const xla::Call& call, xla::Code code, const std::string& reason) {
  const std::string message = "fracstride: " + reason;
  xla::NewError made{offsetof(xla::NewError, code) + sizeof(xla::Code), nullptr, message.c_str(),
                     code};
  return call.api->create_error(&made);
}

// At its registration a handler says for which version of the interface it was made. Nothing that
// is used here has changed between the oldest and the newest, so it is any that the runtime wants.
void describe(const xla::Call& call) {
  auto& metadata = *reinterpret_cast<xla::MetadataExtension*>(call.extensions)->metadata;
  const i64 runtimes = call.api ? call.api->version.minor : oldest_minor;
  metadata.version.major = 0;
  metadata.version.minor =
      static_cast<std::int32_t>(smaller(larger(runtimes, oldest_minor), newest_minor));
}

template <Map map>
xla::Error* handle(xla::Call* call) {
  if (call->extensions && call->extensions->type == xla::metadata_extension) {
    describe(*call);
    return nullptr;
  }
  if (call->stage != xla::execute_stage) return nullptr;
  try {
    require(call->api->version.major == 0 && call->struct_size >= sizeof(xla::Call),
            "another interface of XLA");
    run(*call, map);
    return nullptr;
  } catch (const Refusal& refusal) {
    return error(*call, xla::Code::invalid_argument, refusal.reason);
  } catch (const std::bad_alloc&) {
    return error(*call, xla::Code::resource_exhausted, "not enough memory");
  } catch (...) {
    return error(*call, xla::Code::internal, "an unexpected error");
  }
}

}  // namespace

std::map<std::string, std::uintptr_t> xla_handlers() {
  const auto address = [](xla::Handler* handler) {
    return reinterpret_cast<std::uintptr_t>(handler);
  };
  return {{"conv_transpose1d", address(handle<Map::forward>)},
          {"conv_transpose1d_input_grad", address(handle<Map::input_grad>)},
          {"conv_transpose1d_weight_grad", address(handle<Map::weight_grad>)},
          {"conv1d", address(handle<Map::conv1d>)}};
}

}  // namespace fracstride
