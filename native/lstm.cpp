#include "lstm.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "pointwise.hpp"
#include "scratch.hpp"
#include "threads.hpp"

namespace fracstride {
namespace {

constexpr i64 chunk_bytes = 1024 * 1024;  // projected positions that are kept at a time
constexpr i64 fewest_positions = 16;      // of these
constexpr i64 blocks_at_once = 2;
constexpr i64 tile = 16;  // positions and units that are transposed together

Instruction on(Operation operation, int target, int a, int b = -1) {
  return {static_cast<int>(operation), target, a, b, 0, 0};
}

// c = sigmoid(z_forget) * c + sigmoid(z_input) * tanh(z_new); each z is a sum of two inputs.
template <class S>
const Program<S>& cell_program() {
  enum { input, input_more, forget, forget_more, value, value_more, cell, a, b };
  static const Program<S> program(
      7,
      {on(Operation::add, a, input, input_more), on(Operation::sigmoid, a, a),
       on(Operation::add, b, value, value_more), on(Operation::tanh, b, b),
       on(Operation::multiply, a, a, b), on(Operation::add, b, forget, forget_more),
       on(Operation::sigmoid, b, b), on(Operation::multiply, b, b, cell),
       on(Operation::add, a, b, a)},
      {});
  return program;
}

// h = sigmoid(z_output) * tanh(c)
template <class S>
const Program<S>& hidden_program() {
  enum { output, output_more, cell, a, b };
  static const Program<S> program(
      3,
      {on(Operation::add, a, output, output_more), on(Operation::sigmoid, a, a),
       on(Operation::tanh, b, cell), on(Operation::multiply, a, a, b)},
      {});
  return program;
}

// What one thread computes of each position: blocks [first, last) of units.
template <class S>
struct Part {
  i64 first, last;
  PointwiseCall<S> cell, hidden;
};

template <class S>
LstmProduct<S> product_of(const PackedWeight<S>& weight, const S* bias) {
  LstmProduct<S> product{};
  product.product = weight.plan.products[0];
  product.packed = weight.data();
  product.bias = bias;
  product.rows = weight.layer.in_channels;
  return product;
}

// Words of so many frames.
template <class S>
i64 words_of(const LstmProduct<S>& product, i64 frames) {
  return whole_lines<Sum<S>>(product.product.steps * frames);
}

// The positions of a chunk. In all buffers rows, or units, lie side by side.
template <class S>
class Chunk {
 public:
  Chunk(const PackedWeight<S>& input_weight, const S* bias, const PackedWeight<S>& recurrent,
        i64 batch, i64 positions)
      : isa_(recurrent.isa),
        kernels_(kernels_of<S>(isa_)),
        batch_(batch),
        channels_(input_weight.layer.out_channels),
        units_(recurrent.layer.out_channels),
        rows_(recurrent.layer.in_channels),
        blocks_(rows_ / (4 * lstm_units)),
        filled_(blocks_ * lstm_units),
        threads_(static_cast<int>(
            std::min<i64>(threads_for(real_product(rows_, units_, batch)), blocks_))),
        of_input_(product_of(input_weight, bias)),
        of_state_(product_of<S>(recurrent, nullptr)),
        projected_(positions * batch * rows_),
        sums_(batch * rows_),
        hidden_((positions + 1) * batch * filled_),
        cell_(batch * filled_),
        state_size_(words_of(of_state_, batch)),
        input_words_(words_of(of_input_, positions * batch)),
        state_words_(2 * state_size_) {
    of_input_.words = input_words_.data();
    of_input_.target = projected_.data();
    of_state_.frames = batch;
    of_state_.target = sums_.data();
  }

  // The state before the first position.
  void set(const LstmState<S>& state) {
    std::fill_n(hidden_.data(), batch_ * filled_, S{});
    std::fill_n(cell_.data(), batch_ * filled_, S{});
    for (i64 b = 0; b < batch_ && state.hidden; ++b) {
      std::copy_n(state.hidden + b * units_, units_, hidden_.data() + b * filled_);
      std::copy_n(state.cell + b * units_, units_, cell_.data() + b * filled_);
    }
  }

  // The state behind the last position.
  void get(const LstmState<S>& state) const {
    for (i64 b = 0; b < batch_ && state.hidden; ++b) {
      std::copy_n(hidden_.data() + b * filled_, units_, state.hidden + b * units_);
      std::copy_n(cell_.data() + b * filled_, units_, state.cell + b * units_);
    }
  }

  void run(const Signal<const S>& input, const Signal<S>& output) {
    positions_ = input.length;
    of_input_.frames = batch_ * positions_;
    parts_.clear();
    for (int i = 0; i < threads_; ++i) parts_.push_back(part_of(i));
    // Of the first step, each thread has its share of the words that all threads read.
    parallel_steps(threads_, positions_ + 1, [&](i64 step, int index, int count) {
      Part<S>& part = parts_[static_cast<std::size_t>(index)];
      if (step == 0) {
        const i64 pairs = divide_up(channels_, 2);
        kernels_.lstm_words(of_input_.product, input, batch_, 2 * share(pairs, index, count),
                            std::min(2 * share(pairs, index + 1, count), channels_),
                            input_words_.data());
        return keep(part, 0);
      }
      if (step == 1) multiply(of_input_, part.first, part.last);
      advance(part, step - 1);
    });
    write(output);
    std::copy_n(hidden_at(positions_), batch_ * filled_, hidden_.data());
  }

 private:
  // A gate of each unit of some blocks, and the units themselves.
  template <class T>
  PointwiseArray<T> gate(T* data, int number, i64 entry) const {
    return {data + number * lstm_units, entry, 4 * lstm_units, 1};
  }
  template <class T>
  PointwiseArray<T> units(T* data) const {
    return {data, filled_, lstm_units, 1};
  }

  S* hidden_at(i64 t) { return hidden_.data() + t * batch_ * filled_; }
  Sum<S>* words_at(i64 t) { return state_words_.data() + t % 2 * state_size_; }

  Part<S> part_of(int index) {
    Part<S> part{share(blocks_, index, threads_), share(blocks_, index + 1, threads_), {}, {}};
    const i64 blocks = part.last - part.first, entry = positions_ * rows_;
    const S* sums = sums_.data() + 4 * part.first * lstm_units;
    const S* more = projected_.data();  // as `hidden`, another one at each position
    S *hidden = hidden_.data(), *cell = cell_.data() + part.first * lstm_units;
    const PointwiseArray<const S> of_cell[]{
        gate(sums, 0, rows_), gate(more, 0, entry), gate(sums, 1, rows_), gate(more, 1, entry),
        gate(sums, 2, rows_), gate(more, 2, entry), units<const S>(cell)};
    part.cell =
        pointwise_call(cell_program<S>(), isa_, batch_, blocks, lstm_units, units(cell), of_cell);
    const PointwiseArray<const S> of_hidden[]{gate(sums, 3, rows_), gate(more, 3, entry),
                                              units<const S>(cell)};
    part.hidden = pointwise_call(hidden_program<S>(), isa_, batch_, blocks, lstm_units,
                                 units(hidden), of_hidden);
    return part;
  }

  void multiply(const LstmProduct<S>& product, i64 first, i64 last) const {
    const i64 panels = 4 * lstm_units / kernels_.panel_rows;  // of a block
    kernels_.lstm_product(product, first * panels, last * panels);
  }

  // Every second position begins with the last blocks, whose weights the position before has left
  // in the cache, if that is too small for all.
  void multiply_state(i64 t, const Part<S>& part) {
    LstmProduct<S> product = of_state_;
    product.words = words_at(t);
    if (t % 2 == 0) return multiply(product, part.first, part.last);
    for (i64 last = part.last, first; last > part.first; last = first) {
      first = std::max(part.first, last - blocks_at_once);
      multiply(product, first, last);
    }
  }

  // The units of a part before position t, as words.
  void keep(const Part<S>& part, i64 t) {
    kernels_.lstm_words(of_state_.product, {hidden_at(t), filled_, 1, 0, 1}, batch_,
                        part.first * lstm_units, std::min(part.last * lstm_units, units_),
                        words_at(t));
  }

  void advance(Part<S>& part, i64 t) {
    multiply_state(t, part);
    const S* more = projected_.data() + t * rows_ + 4 * part.first * lstm_units;
    for (int i = 0; i < 3; ++i) part.cell.inputs[2 * i + 1].data = more + i * lstm_units;
    run_pointwise_call(part.cell, isa_);
    part.hidden.inputs[1].data = more + 3 * lstm_units;
    part.hidden.out.data = hidden_at(t + 1) + part.first * lstm_units;
    run_pointwise_call(part.hidden, isa_);
    keep(part, t + 1);
  }

  // The states behind each position, as a signal.
  void write(const Signal<S>& y) {
    for (i64 b = 0; b < batch_; ++b)
      for (i64 first = 0; first < units_; first += tile)
        for (i64 start = 0; start < y.length; start += tile)
          for (i64 u = first; u < std::min(first + tile, units_); ++u)
            for (i64 t = start; t < std::min(start + tile, y.length); ++t)
              y.data[b * y.batch_stride + u * y.channel_stride + t * y.position_stride] =
                  hidden_at(t + 1)[b * filled_ + u];
  }

  const InstructionSet& isa_;
  const Kernels<S>& kernels_;
  const i64 batch_, channels_, units_, rows_, blocks_;
  const i64 filled_;  // units with those that fill up the last block
  const int threads_;
  i64 positions_ = 0;
  LstmProduct<S> of_input_, of_state_;
  Scratch<S> projected_;  // (batch, positions, rows)
  Scratch<S> sums_;       // (batch, rows)
  Scratch<S> hidden_;     // (positions + 1, batch, filled)
  Scratch<S> cell_;       // (batch, filled)
  const i64 state_size_;
  Scratch<Sum<S>> input_words_, state_words_;  // of the state: those of two positions
  std::vector<Part<S>> parts_;
};

}  // namespace

template <class S>
void lstm(const PackedWeight<S>& input_weight, const PackedWeight<S>& recurrent_weight, i64 batch,
          const Signal<const S>& input, const S* bias, const Signal<S>& output,
          const LstmState<S>& state) {
  if (batch == 0 || input.length == 0) return;
  const i64 row = recurrent_weight.layer.in_channels * batch * static_cast<i64>(sizeof(S));
  const i64 most = std::min(std::max(chunk_bytes / row, fewest_positions), input.length);
  Chunk<S> chunk(input_weight, bias, recurrent_weight, batch, most);
  chunk.set(state);
  for (i64 first = 0; first < input.length; first += most) {
    Signal<const S> x = input;
    Signal<S> y = output;
    x.data += first * input.position_stride;
    y.data += first * output.position_stride;
    x.length = y.length = std::min(most, input.length - first);
    chunk.run(x, y);
  }
  chunk.get(state);
}

#define FS_LSTM(S)                                                           \
  template void lstm<S>(const PackedWeight<S>&, const PackedWeight<S>&, i64, \
                        const Signal<const S>&, const S*, const Signal<S>&, const LstmState<S>&);
FS_LSTM(float)
FS_LSTM(double)
FS_LSTM(float16)
FS_LSTM(bfloat16)

}  // namespace fracstride
