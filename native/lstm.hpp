// A layer of an LSTM, by a Conv1d of kernel 1 over its input, another one over its last state, and
// pointwise programs.
#pragma once
#include "packed_weight.hpp"
#include "types.hpp"

namespace fracstride {

// Both weights have their rows in blocks of this many units: rows of the input gates of these
// units, then of their forget gates, their new values and their output gates. In the last block,
// rows of units that do not exist are zero.
constexpr i64 lstm_units = 16;

// hidden, cell: (batch, units), the state before the first position, which is replaced by the one
// behind the last; null: zeros, and not wanted.
template <class S>
struct LstmState {
  S* hidden;
  S* cell;
};

// For each position t, in order, with z = input_weight x_t + bias + recurrent_weight h of the
// position before:
//     c = sigmoid(z_forget) * c + sigmoid(z_input) * tanh(z_new)
//     h = sigmoid(z_output) * tanh(c)
// and h is the output. Each step is rounded to S, as by a Conv1d and by pointwise programs.
// Both weights are packed for a Conv1d of kernel 1, for the same instruction set.
template <class S>
void lstm(const PackedWeight<S>& input_weight, const PackedWeight<S>& recurrent_weight, i64 batch,
          const Signal<const S>& input, const S* bias, const Signal<S>& output,
          const LstmState<S>& state);

}  // namespace fracstride
