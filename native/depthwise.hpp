// The map T with one channel in and one out per group, which memory bounds: time along the vector,
// from the input straight into the output. Included inside the namespace of one instruction set.
//
// Each sample is the same sum in the same order as in product.hpp, where everything else is
// computed that this file does not know: strides that no interleaving is made for, and short
// signals.

// P phases of U vectors of frames from t on; every term of theirs exists.
template <class T, int P, int U>
static inline void depthwise_frames(const DepthwiseCall<T>& call, const T* x, const T* w, T bias,
                                    i64 t, T* y) {
  typedef typename Vec<T>::type V;
  constexpr i64 lanes = Vec<T>::lanes;
  V sums[P][U] = {};
  const T* from = x + t;
  // Loads mostly straddle two cache lines: each is made once for all phases.
  V frames[U];
  const auto read = [&] {
#pragma GCC unroll 8
    for (int v = 0; v < U; ++v) frames[v] = in_register(load(from + v * lanes));
  };
  const auto add = [&](int p) {
    const V tap = w[p] - V{};
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
  T* to = y + t * P - call.padding_left;
#pragma GCC unroll 8
  for (int v = 0; v < U; ++v) {
    V r[P];
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) r[p] = (V{} + sums[p][v]) + bias;
    interleave<T, P>(r);
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) store(to + (v * P + p) * lanes, r[p]);
  }
}

// One sample, whose terms may not all exist.
template <class T>
static inline T depthwise_sample(const DepthwiseCall<T>& call, const Row<T>& x, const T* w, i64 n) {
  T sum = 0;
  i64 t = (n + call.padding_left) / call.phases;
  for (i64 m = (n + call.padding_left) % call.phases; m < call.kernel;
       m += call.phases, t -= call.shift_frames) {
    const i64 frame = source_frame(t, call.source.length, call.extension);
    if (frame >= 0) sum += w[m] * x.at(frame);
  }
  return T(0) + sum;
}

template <class T, int P>
static void depthwise_row(const DepthwiseCall<T>& call, const Row<T>& x, const T* w, const T* bias,
                          i64 first, i64 last, T* y) {
  constexpr i64 lanes = Vec<T>::lanes;
  constexpr int unroll = P >= 8 ? 1 : 8 / P;  // sums that do not wait for each other
  const T b = bias ? *bias : T(0);
  const i64 low = smaller(larger(first, call.first_whole), last);
  const i64 high = smaller(larger(last, low), larger(call.last_whole, low));
  const auto one_by_one = [&](i64 from, i64 to) {
    const i64 begin = larger(from * P - call.padding_left, 0);
    const i64 end = smaller(to * P - call.padding_left, call.target.length);
    for (i64 n = begin; n < end; ++n) {
      const T sum = depthwise_sample(call, x, w, n);
      y[n] = bias ? sum + b : sum;
    }
  };
  if (high - low < lanes) return one_by_one(first, last);
  one_by_one(first, low);
  i64 t = low;
  for (; t + unroll * lanes <= high; t += unroll * lanes)
    depthwise_frames<T, P, unroll>(call, x.data, w, b, t, y);
  for (; t + lanes <= high; t += lanes) depthwise_frames<T, P, 1>(call, x.data, w, b, t, y);
  // The last ones once more with some of those before them: the same numbers in the same places.
  if (t < high) depthwise_frames<T, P, 1>(call, x.data, w, b, high - lanes, y);
  one_by_one(high, last);
}

// Units are pieces of rows (batch entry, channel).
template <class T>
static void depthwise(const DepthwiseCall<T>& call, i64 first_unit, i64 last_unit) {
  for (i64 unit = first_unit; unit < last_unit; ++unit) {
    const i64 row = unit / call.pieces, piece = unit % call.pieces;
    const i64 channel = row % call.channels, entry = row / call.channels;
    const Row<T> x = row_of(call.source, call.carried, entry, channel);
    T* y =
        call.target.data + entry * call.target.batch_stride + channel * call.target.channel_stride;
    const T* w = call.weight + channel * call.kernel;
    const T* bias = call.bias ? call.bias + channel : nullptr;
    const i64 first = call.first_frame + piece * call.piece_frames;
    const i64 last = smaller(first + call.piece_frames, call.last_frame);
    switch (call.phases) {
      case 1: depthwise_row<T, 1>(call, x, w, bias, first, last, y); break;
      case 2: depthwise_row<T, 2>(call, x, w, bias, first, last, y); break;
      case 4:
        if constexpr (Vec<T>::lanes >= 4) depthwise_row<T, 4>(call, x, w, bias, first, last, y);
        break;
      case 8:
        if constexpr (Vec<T>::lanes >= 8) depthwise_row<T, 8>(call, x, w, bias, first, last, y);
        break;
    }
  }
}
