#include "pointwise.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <stdexcept>
#include <type_traits>

#include "dispatch.hpp"
#include "threads.hpp"

namespace fracstride {
namespace {

struct Kind {
  const char* name;
  int operands;
  double cost;
};
constexpr Kind kinds[] = {
#define FS_KIND(name, operands, weight) {#name, operands, weight},
    FS_OPERATIONS(FS_KIND) FS_FUSED_OPERATIONS(FS_KIND)
#undef FS_KIND
};
constexpr int kind_count = static_cast<int>(Operation::snake);  // that Python may name

// (The functions of <cmath> are overloaded: each is chosen by the type of its pointer.)
const Libm libm{std::exp, std::expm1, std::log, std::log1p, std::sin,
                std::cos, std::tanh,  std::erf, std::erfc,  std::pow};

// In double precision a function is computed number by number.
constexpr double cost_of_libm = 400, most_without_libm = 11;

[[noreturn]] void refuse(std::size_t index, const std::string& what) {
  throw std::invalid_argument("instruction " + std::to_string(index) + " " + what);
}

// Checks an operand and says how it is written in messages.
void check_operand(std::size_t index, const char* which, int operand, const std::vector<int>& known,
                   std::size_t channel_values) {
  const std::string name = std::string("operand ") + which;
  if (operand >= most_registers)
    refuse(index, "reads register " + std::to_string(operand) + " as " + name +
                      ", but the last register is " + std::to_string(most_registers - 1));
  if (operand >= 0 && known[static_cast<std::size_t>(operand)] < 0)
    refuse(index, "reads register " + std::to_string(operand) + " as " + name +
                      ", which no input and no instruction before it has written");
  if (operand <= -2 && static_cast<std::size_t>(-2 - static_cast<i64>(operand)) >= channel_values)
    refuse(index, "reads channel value " + std::to_string(-2 - static_cast<i64>(operand)) + " as " +
                      name + ", but there are " + std::to_string(channel_values));
}

void check_instruction(std::size_t index, const Instruction& in, const std::vector<int>& known,
                       std::size_t channel_values) {
  if (in.operation < 0 || in.operation >= kind_count)
    refuse(index, "has operation " + std::to_string(in.operation) +
                      ", but they are numbered 0 to " + std::to_string(kind_count - 1));
  if (in.target < 0 || in.target >= most_registers)
    refuse(index, "writes register " + std::to_string(in.target) + ", but they are numbered 0 to " +
                      std::to_string(most_registers - 1));
  check_operand(index, "a", in.a, known, channel_values);
  if (kinds[in.operation].operands == 2) check_operand(index, "b", in.b, known, channel_values);
}

// Powers that are computed without a logarithm, as torch does.
Operation power_of(double exponent) {
  if (exponent == 1) return Operation::copy;
  if (exponent == 2) return Operation::square;
  if (exponent == 3) return Operation::cube;
  if (exponent == 0.5) return Operation::sqrt;
  if (exponent == -1) return Operation::reciprocal;
  if (exponent == -0.5) return Operation::rsqrt;
  return Operation::power;
}

template <class S>
double cost_of(Operation operation) {
  const double cost = kinds[static_cast<int>(operation)].cost;
  return std::is_same_v<S, double> && cost > most_without_libm ? cost_of_libm : cost;
}

void check_sizes(int inputs, std::size_t instructions, std::size_t channel_values) {
  const auto refuse_count = [](const char* what, long long count, int least, int most) {
    throw std::invalid_argument("a program has " + std::to_string(least) + " to " +
                                std::to_string(most) + " " + what + ", not " +
                                std::to_string(count));
  };
  if (inputs < 1 || inputs > most_registers) refuse_count("inputs", inputs, 1, most_registers);
  if (instructions < 1 || instructions > most_steps)
    refuse_count("instructions", static_cast<long long>(instructions), 1, most_steps);
  if (channel_values > most_channel_values)
    refuse_count("channel values", static_cast<long long>(channel_values), 0, most_channel_values);
}

// Whether a step before `end` reads a place after step `first`, before one writes it.
template <class S>
bool is_read(const std::vector<PointwiseStep<S>>& steps, std::size_t first, int place) {
  for (std::size_t i = first; i < steps.size(); ++i) {
    if (steps[i].a == place || steps[i].b == place || steps[i].c == place) return true;
    if (steps[i].target == place) return false;
  }
  return false;
}

// The other operand of a step that has two, if one is `place`; else -1.
template <class S>
int other_operand(const PointwiseStep<S>& step, int place) {
  return step.a == place ? step.b : step.b == place ? step.a : -1;
}

// The chain x + sin(x * b)**2 * c that begins with a step as one step, if it is one: its numbers
// between are read by nothing else, and x is still there at its end.
template <class S>
bool find_snake(const std::vector<PointwiseStep<S>>& steps, std::size_t at,
                PointwiseStep<S>& found) {
  if (at + 5 > steps.size()) return false;
  const PointwiseStep<S>*product = &steps[at], *sine = product + 1, *square = product + 2,
        *factor = product + 3, *sum = product + 4;
  const bool divided = factor->operation == Operation::divide;
  if (product->operation != Operation::multiply || sine->operation != Operation::sin ||
      sine->a != product->target || sum->operation != Operation::add)
    return false;
  const bool squared = square->operation == Operation::square ||
                       (square->operation == Operation::multiply && square->a == square->b);
  if (!squared || square->a != sine->target) return false;
  if (!divided && factor->operation != Operation::multiply) return false;
  if (divided && factor->a != square->target) return false;
  const int c = other_operand(*factor, square->target), x = other_operand(*sum, factor->target);
  const int b = other_operand(*product, x);
  if (c < 0 || x < 0 || b < 0) return false;
  for (std::size_t i = at; i < at + 4; ++i) {
    const int between = steps[i].target;
    if (between == x || between == c) return false;
    if (between != sum->target && is_read(steps, at + 5, between)) return false;
  }
  found = *sum;
  found.operation = divided ? Operation::snake_divided : Operation::snake;
  found.a = x, found.b = b, found.c = c;
  return true;
}

template <class S>
void fuse_snakes(std::vector<PointwiseStep<S>>& steps) {
  for (std::size_t i = 0; i < steps.size(); ++i) {
    PointwiseStep<S> found{};
    if (!find_snake(steps, i, found)) continue;
    steps[i] = found;
    steps.erase(steps.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                steps.begin() + static_cast<std::ptrdiff_t>(i) + 5);
  }
}

}  // namespace

template <class S>
Program<S>::Program(int inputs, const std::vector<Instruction>& instructions,
                    const std::vector<ChannelValues>& channel_values) {
  check_sizes(inputs, instructions.size(), channel_values.size());
  for (const ChannelValues& values : channel_values) {
    const auto* data = static_cast<const Sum<S>*>(values.data);
    if (values.count < 0 || (values.count && !data))
      throw std::invalid_argument("channel values need an address and a count from 0 on, not " +
                                  std::to_string(values.count));
    per_channel_.emplace_back(data, data + values.count);
    channels_ = channels_ < 0 ? values.count : std::min(channels_, values.count);
  }
  for (const std::vector<Sum<S>>& values : per_channel_) per_channel_data_.push_back(values.data());

  // The place of each register's number: an input, or (from most_sources on, until the number of
  // sources is known) what a step has made.
  std::vector<int> known(most_registers, -1), made(most_registers, -1);
  for (int i = 0; i < inputs; ++i) known[static_cast<std::size_t>(i)] = i;
  int registers = 0;
  const int values = static_cast<int>(channel_values.size());
  const auto place = [&](int operand, double scalar) {
    if (operand >= 0) return known[static_cast<std::size_t>(operand)];
    if (operand <= -2) return inputs - 2 - operand;
    scalars_.push_back(static_cast<Sum<S>>(scalar));
    return inputs + values + static_cast<int>(scalars_.size()) - 1;
  };
  for (std::size_t i = 0; i < instructions.size(); ++i) {
    const Instruction& in = instructions[i];
    check_instruction(i, in, known, channel_values.size());
    PointwiseStep<S> step{};
    step.operation = static_cast<Operation>(in.operation);
    if (step.operation == Operation::power && in.b == -1) step.operation = power_of(in.first);
    step.a = place(in.a, in.first);
    step.b = kinds[static_cast<int>(step.operation)].operands == 2 ? place(in.b, in.first) : step.a;
    step.c = step.a;
    step.first = static_cast<Sum<S>>(in.first);
    step.second = static_cast<Sum<S>>(in.second);
    int& target = made[static_cast<std::size_t>(in.target)];
    if (target < 0) target = most_sources + registers++;
    step.target = known[static_cast<std::size_t>(in.target)] = target;
    steps_.push_back(step);
  }
  fuse_snakes(steps_);
  for (const PointwiseStep<S>& step : steps_) cost_ += cost_of<S>(step.operation);
  const int scalars = static_cast<int>(scalars_.size()), sources = inputs + values + scalars;
  const auto settle = [&](int& source) {
    if (source >= most_sources) source += sources - most_sources;
  };
  for (PointwiseStep<S>& step : steps_) {
    settle(step.target), settle(step.a), settle(step.b), settle(step.c);
  }
  program_ = {
      steps_.data(), static_cast<int>(steps_.size()), inputs,          values, scalars, registers,
      sources,       per_channel_data_.data(),        scalars_.data(), &libm};
}

namespace {

// The strides of all arrays of a call, to see which axes are one.
template <class S>
struct Arrays {
  PointwiseCall<S>& call;
  int inputs, values;

  template <class Action>
  void each(const Action& action) {
    action(call.out.strides);
    for (int i = 0; i < inputs; ++i) action(call.inputs[i].strides);
    for (int i = 0; i < values; ++i) action(call.per_channel[i].strides);
  }

  void swap(int a, int b) {
    std::swap(call.size[a], call.size[b]);
    each([&](i64* strides) { std::swap(strides[a], strides[b]); });
  }

  // Makes axis `b` and the one before it a single axis, if every array's numbers follow on each
  // other. Axes before them move up by one.
  bool join(int b) {
    bool joined = true;
    if (call.size[b] != 1 && call.size[b - 1] != 1)
      each([&](const i64* s) { joined = joined && s[b - 1] == s[b] * call.size[b]; });
    if (!joined) return false;
    const bool keep = call.size[b] != 1;
    call.size[b] *= call.size[b - 1];
    each([&](i64* s) {
      if (!keep) s[b] = s[b - 1];
      for (int axis = b - 1; axis > 0; --axis) s[axis] = s[axis - 1];
      s[0] = 0;
    });
    for (int axis = b - 1; axis > 0; --axis) call.size[axis] = call.size[axis - 1];
    call.size[0] = 1;
    return true;
  }
};

// Puts the axis along which the result lies densest last, and joins axes where it can.
template <class S>
void arrange(PointwiseCall<S>& call, Arrays<S> arrays) {
  const auto farther = [&](int a, int b) {  // whether axis a belongs behind axis b
    if (call.size[b] == 1 || call.size[a] == 1) return call.size[b] != 1 && call.size[a] == 1;
    return std::abs(call.out.strides[a]) > std::abs(call.out.strides[b]);
  };
  for (const int a : {1, 0, 1})
    if (farther(a + 1, a)) arrays.swap(a, a + 1);
  if (arrays.join(2)) arrays.join(2);
  arrays.join(1);
}

// Rows shorter than this are computed several at a time: longer ones if each ends in a vector that
// is not full.
constexpr i64 short_row = 256;
constexpr i64 short_uneven_row = 512;
constexpr i64 block_without_buffers = 8192;

template <class S>
void choose_blocks(PointwiseCall<S>& call, Arrays<S> arrays, i64 lanes) {
  const i64 registers = call.program->registers, length = call.size[2];
  const i64 all = registers + arrays.inputs + arrays.values + 1;
  bool direct = !is_half<S>;
  arrays.each([&](const i64* strides) { direct = direct && (strides[2] == 1 || strides[2] == 0); });
  call.rows = 1;
  if (length < (length % lanes ? short_uneven_row : short_row) && call.size[1] > 1) {
    call.room = buffer_room<S>(all);
    call.block = length;
    call.rows = std::min(std::max<i64>(call.room / length, 1), call.size[1]);
    const i64 whole = lanes / std::gcd(length, lanes);  // rows whose numbers are whole vectors
    if (call.rows > whole) call.rows -= call.rows % whole;
    if (length > call.room) call.rows = 1, call.block = call.room;
  } else {
    call.room = buffer_room<S>(direct ? registers : all);
    call.block = direct && registers == 0 ? block_without_buffers : call.room;
  }
  call.blocks[0] = call.size[0];
  call.blocks[1] = divide_up(call.size[1], call.rows);
  call.blocks[2] = divide_up(length, call.block);
}

}  // namespace

template <class S>
PointwiseCall<S> pointwise_call(const Program<S>& program, const InstructionSet& isa, i64 batch,
                                i64 channels, i64 length, const PointwiseArray<S>& out,
                                const PointwiseArray<const S>* inputs) {
  PointwiseCall<S> call;
  call.program = &program.program();
  call.size[0] = batch, call.size[1] = channels, call.size[2] = length;
  call.out = {out.data, {out.batch_stride, out.channel_stride, out.position_stride}};
  for (int i = 0; i < program.inputs(); ++i)
    call.inputs[i] = {
        inputs[i].data,
        {inputs[i].batch_stride, inputs[i].channel_stride, inputs[i].position_stride}};
  const int values = call.program->channel_values;
  for (int i = 0; i < values; ++i) call.per_channel[i] = {call.program->per_channel[i], {0, 1, 0}};
  const Arrays<S> arrays{call, program.inputs(), values};
  arrange(call, arrays);
  choose_blocks(call, arrays, pointwise_kernels_of<S>(isa).lanes);
  return call;
}

namespace {
template <class S>
i64 units_of(const PointwiseCall<S>& call) {
  return call.blocks[0] * call.blocks[1] * call.blocks[2];
}
}  // namespace

template <class S>
void run_pointwise_call(const PointwiseCall<S>& call, const InstructionSet& isa) {
  pointwise_kernels_of<S>(isa).run(call, 0, units_of(call));
}

template <class S>
void pointwise(const Program<S>& program, i64 batch, i64 channels, i64 length,
               const PointwiseArray<S>& out, const PointwiseArray<const S>* inputs) {
  if (!out.data || batch == 0 || channels == 0 || length == 0) return;
  const InstructionSet& isa = instruction_set();
  const PointwiseCall<S> call = pointwise_call(program, isa, batch, channels, length, out, inputs);
  const i64 units = units_of(call);
  const double numbers = real_product(batch, channels, length);
  const int threads = static_cast<int>(std::min<i64>(threads_for(numbers * program.cost()), units));
  parallel(threads, [&](int index, int count) {
    pointwise_kernels_of<S>(isa).run(call, share(units, index, count),
                                     share(units, index + 1, count));
  });
}

std::vector<std::string> pointwise_operations() {
  std::vector<std::string> names;
  for (int i = 0; i < kind_count; ++i) names.emplace_back(kinds[i].name);
  return names;
}

#define FS_POINTWISE(S)                                                                           \
  template class Program<S>;                                                                      \
  template void pointwise<S>(const Program<S>&, i64, i64, i64, const PointwiseArray<S>&,          \
                             const PointwiseArray<const S>*);                                     \
  template PointwiseCall<S> pointwise_call<S>(const Program<S>&, const InstructionSet&, i64, i64, \
                                              i64, const PointwiseArray<S>&,                      \
                                              const PointwiseArray<const S>*);                    \
  template void run_pointwise_call<S>(const PointwiseCall<S>&, const InstructionSet&);
FS_POINTWISE(float)
FS_POINTWISE(double)
FS_POINTWISE(float16)
FS_POINTWISE(bfloat16)

}  // namespace fracstride
