// The map T with one channel in and one out per group: time lies along the vector, and numbers go
// from the input straight into the output, because memory is what takes time here. Included inside
// the namespace of one instruction set.
//
// Each sample is the same sum in the same order as in product.hpp, which computes all other calls.
// This file is used where all of this holds (is_depthwise and forward_depthwise, maps.cpp):
//   the stride is 1, 2, 4 or 8, at most the lanes of a vector, and at most the kernel size;
//   the dilation is 1 unless the stride is;
//   a phase has at most run_steps taps, so that each sum is one run;
//   neighbouring positions are neighbours in memory, in the input and in the output;
//   there is no residual and no leaky ReLU;
//   the frames all of whose terms and samples exist are at least a vector and twice the reach of
//   the shifts.

// Of bfloat16, frames in even and in odd places are vectors of their own: a pair in memory is then
// two numbers after one operation each, with nothing to shuffle.
template <class S>
static constexpr bool alternating = __is_same(S, bfloat16);

// Computes and stores P phases of U vectors of frames from t on, all of whose terms exist.
template <class S, int P, int U>
static inline void depthwise_frames(const DepthwiseCall<S>& call, const S* x, const Sum<S>* w,
                                    Sum<S> bias, i64 t, S* y) {
  typedef typename Vec<S>::type V;
  constexpr i64 lanes = Vec<S>::lanes;
  V sums[P][U] = {};
  const S* from = x + t;
  // Most loads straddle two cache lines, so each vector is loaded once, for all phases.
  V frames[U];
  const auto read = [&] {
    if constexpr (alternating<S>)
#pragma GCC unroll 8
      for (int v = 0; v < U; v += 2) load_alternating(from + v * lanes, frames[v], frames[v + 1]);
    else
#pragma GCC unroll 8
      for (int v = 0; v < U; ++v) frames[v] = in_register(load(from + v * lanes));
  };
  const auto add = [&](int p) {
    const V tap = broadcast(w[p]);
#pragma GCC unroll 8
    for (int v = 0; v < U; ++v) sums[p][v] += tap * frames[v];
  };
  for (i64 j = 0; j < call.fewer; ++j, from -= call.shift_frames, w += P) {
    read();
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) add(p);
  }
  if (call.fewer < call.most) {
    read();
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p)
      if (p < call.most_phases) add(p);
  }
  S* to = y + t * P - call.padding_left;
  constexpr int together = alternating<S> ? 2 : 1;  // vectors whose frames alternate
#pragma GCC unroll 8
  for (int v = 0; v < U; v += together) {
    V r[P * together];
#pragma GCC unroll 16
    for (int p = 0; p < P * together; ++p) r[p] = (V{} + sums[p % P][v + p / P]) + bias;
    store_phases<S, P * together>(r, to + v * P * lanes);
  }
}

// One sample, some of whose terms may not exist: those of taps_reaching in reach.py do.
template <class S>
static inline Sum<S> depthwise_sample(const DepthwiseCall<S>& call, const Row<S>& x,
                                      const Sum<S>* w, i64 n) {
  Sum<S> sum = 0;
  i64 t = (n + call.padding_left) / call.phases;
  for (i64 m = (n + call.padding_left) % call.phases; m < call.kernel;
       m += call.phases, t -= call.shift_frames) {
    const i64 frame = source_frame(t, call.source.length, call.extension);
    if (frame >= 0) sum += w[m] * widen(x.at(frame));
  }
  return Sum<S>(0) + sum;
}

template <class S, int P>
static void depthwise_row(const DepthwiseCall<S>& call, const Row<S>& x, const Sum<S>* w,
                          const S* bias, i64 first, i64 last, S* y) {
  constexpr i64 lanes = Vec<S>::lanes;
  constexpr int least = alternating<S> ? 2 : 1;
  constexpr int unroll = P * least >= 8 ? least : 8 / P;  // sums that do not wait for each other
  constexpr i64 step = least * lanes;
  const Sum<S> b = bias ? widen(*bias) : Sum<S>(0);
  const i64 low = smaller(larger(first, call.first_whole), last);
  const i64 high = smaller(larger(last, low), larger(call.last_whole, low));
  const auto one_by_one = [&](i64 from, i64 to) {
    const i64 begin = larger(from * P - call.padding_left, 0);
    const i64 end = smaller(to * P - call.padding_left, call.target.length);
    for (i64 n = begin; n < end; ++n) {
      const Sum<S> sum = depthwise_sample(call, x, w, n);
      y[n] = narrow<S>(bias ? sum + b : sum);
    }
  };
  if (high - low < step) return one_by_one(first, last);
  one_by_one(first, low);
  i64 t = low;
  for (; t + unroll * lanes <= high; t += unroll * lanes)
    depthwise_frames<S, P, unroll>(call, x.data, w, b, t, y);
  for (; t + step <= high; t += step) depthwise_frames<S, P, least>(call, x.data, w, b, t, y);
  // The last frames, and some before them for the second time: the same numbers in the same places.
  if (t < high) depthwise_frames<S, P, least>(call, x.data, w, b, high - step, y);
  one_by_one(high, last);
}

// Units are pieces of rows (batch entry, channel).
template <class S>
static void depthwise(const DepthwiseCall<S>& call, i64 first_unit, i64 last_unit) {
  for (i64 unit = first_unit; unit < last_unit; ++unit) {
    const i64 row = unit / call.pieces, piece = unit % call.pieces;
    const i64 channel = row % call.channels, entry = row / call.channels;
    const Row<S> x = row_of(call.source, call.carried, entry, channel);
    S* y =
        call.target.data + entry * call.target.batch_stride + channel * call.target.channel_stride;
    const Sum<S>* w = call.weight + channel * call.kernel;
    const S* bias = call.bias ? call.bias + channel : nullptr;
    const i64 first = call.first_frame + piece * call.piece_frames;
    const i64 last = smaller(first + call.piece_frames, call.last_frame);
    switch (call.phases) {
      case 1: depthwise_row<S, 1>(call, x, w, bias, first, last, y); break;
      case 2: depthwise_row<S, 2>(call, x, w, bias, first, last, y); break;
      case 4:
        if constexpr (Vec<S>::lanes >= 4) depthwise_row<S, 4>(call, x, w, bias, first, last, y);
        break;
      case 8:
        if constexpr (Vec<S>::lanes >= 8) depthwise_row<S, 8>(call, x, w, bias, first, last, y);
        break;
    }
  }
}
