// A Conv1d of kernel 1 for an LSTM: its operand comes in the words that a tile broadcasts, and the
// rows of its result lie side by side, as the gates read them. (As a call of the map, a single
// frame would be packed and stored for longer than it is multiplied.) Each sum and its order are
// those of the map. Included inside the namespace of one instruction set.

// Several panels against a single frame: one alone has too few sums to hide the time of an
// addition.
static constexpr int panels_at_once = 4;

// One run of the sums.
template <class W, int P>
static void tile_panels(const W* panel, i64 panel_stride, i64 step_stride, const W* x, i64 words,
                        typename SumOf<W>::type* z, bool first) {
  typedef typename Vec<typename SumOf<W>::type>::type V;
  constexpr int lanes = Vec<W>::lanes, NV = panel_vectors;
  V acc[P][NV] = {};
  for (i64 u = 0; u < words; ++u, panel += step_stride) {
    const auto value = broadcast(x[u]);
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v)
        acc[p][v] = multiply_add(value, load(panel + p * panel_stride + v * lanes), acc[p][v]);
  }
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p)
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) {
      auto* to = z + (p * NV + v) * lanes;
      store(to, (first ? V{} : load(to)) + acc[p][v]);
    }
}

// Stores the sums of rows [row, row + count) of a frame.
template <class S>
static inline void store_sums(const LstmProduct<S>& c, i64 frame, i64 row, const Sum<S>* z,
                              i64 count) {
  S* to = c.target + frame * c.rows + row;
  for (i64 i = 0; i < count; i += Vec<S>::lanes)
    store(to + i, c.bias ? load(z + i) + load(c.bias + row + i) : load(z + i));
}

// Panels of a single frame from `first` on, P at a time. Returns the first one that is left.
template <class S, class W, int P>
static i64 multiply_frame(const LstmProduct<S>& c, const W* words, i64 first, i64 last) {
  constexpr i64 width = panel_vectors * Vec<S>::lanes;
  const Product& p = c.product;
  const Runs runs(p.segments[0]);
  for (; first + P <= last; first += P) {
    Sum<S> z[P * width];
    const W* panel = reinterpret_cast<const W*>(c.packed + first * p.panel_stride);
    for (i64 u = 0; u < runs.all_channels; u += runs.channels)
      tile_panels<W, P>(panel + u * p.step_stride, p.panel_stride, p.step_stride, words + u,
                        smaller(runs.channels, runs.all_channels - u), z, u == 0);
    store_sums(c, 0, first * width, z, P * width);
  }
  return first;
}

// One panel of several frames.
template <class S, class W>
static void multiply_frames(const LstmProduct<S>& c, const W* words, i64 index) {
  constexpr i64 width = panel_vectors * Vec<S>::lanes;
  const Product& p = c.product;
  const Runs runs(p.segments[0]);
  const Strides by{p.step_stride, p.step_stride, c.frames, c.frames};
  const W* panel = reinterpret_cast<const W*>(c.packed + index * p.panel_stride);
  const i64 tiles_of_frames = divide_up(c.frames, lane_frames);
  for (i64 t = 0, frames, done = 0; t < c.frames; t += frames, ++done) {
    frames = (c.frames - t) / (tiles_of_frames - done);  // all tiles alike
    Sum<S> z[lane_frames * width];
    for (i64 u = 0; u < runs.all_channels; u += runs.channels)
      turned_tiles<W>.by_size[frames - 1][panel_vectors - 1](
          panel + u * p.step_stride, words + u * c.frames + t, by,
          smaller(runs.channels, runs.all_channels - u), 1, z, width, u == 0, nullptr);
    for (i64 f = 0; f < frames; ++f) store_sums(c, t + f, index * width, z + f * width, width);
  }
}

template <class S, class W>
static void multiply_words(const LstmProduct<S>& c, i64 first, i64 last) {
  const W* const words = static_cast<const W*>(c.words);
  if (c.frames == 1) first = multiply_frame<S, W, panels_at_once>(c, words, first, last);
  if (c.frames == 1) first = multiply_frame<S, W, 1>(c, words, first, last);
  for (; first < last; ++first) multiply_frames(c, words, first);
}

// Whether two neighbouring channels are one word.
template <class S>
static constexpr bool may_pair = multiplies_pairs && __is_same(S, bfloat16);

// Panels [first, last).
template <class S>
static void lstm_product(const LstmProduct<S>& c, i64 first, i64 last) {
  if constexpr (may_pair<S>)
    if (c.product.pairs) return multiply_words<S, Pair>(c, first, last);
  multiply_words<S, Sum<S>>(c, first, last);
}

// Channels [first, last) of a signal as words; `first` is even. The frames are the positions of its
// first batch entry, then those of the next one.
template <class S>
static void lstm_words(const Product& p, Signal<const S> x, i64 batch, i64 first, i64 last,
                       void* words) {
  if (x.length == 1) x.position_stride = x.batch_stride, x.length = batch, batch = 1;
  const auto copy = [&](auto into, i64 channel, auto* to) {
    const S* from = x.data + channel * x.channel_stride;
    for (i64 b = 0; b < batch; ++b, from += x.batch_stride, to += x.length)
      copy_stretch<decltype(into)>(from, x.position_stride, 1, x.length, x.length, to);
  };
  const i64 frames = batch * x.length;
  if constexpr (may_pair<S>)
    if (p.pairs) {
      Pair* to = static_cast<Pair*>(words) + first / 2 * frames;
      for (i64 u = first; u < last; u += 2, to += frames) {
        copy(FirstHalves{}, u, to);
        if (u + 1 < last) copy(SecondHalves{}, u + 1, to);
      }
      return;
    }
  Sum<S>* to = static_cast<Sum<S>*>(words) + first * frames;
  for (i64 u = first; u < last; ++u, to += frames) copy(Widened<S>{}, u, to);
}
