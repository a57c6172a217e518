// Sums of a row to the output as they are, not interleaved with those of other rows. Included
// inside the namespace of one instruction set.
//
// `residual`, where it is not null, is a signal of the output's shape with strides of its own. It
// is added to the rounded sample, as an addition of two arrays would do.

// Sums of the rows of a panel for some frames: z[row * row_stride + frame * frame_stride].
template <class T>
struct Sums {
  T* z;
  i64 row_stride, frame_stride;
  i64 first_frame, frames;

  Sums part(i64 first, i64 last) const {
    return {z + first * frame_stride, row_stride, frame_stride, first_frame + first, last - first};
  }
};

// Where the rows of one group of one batch entry are stored. All addresses are those of the group's
// first channel.
template <class S>
struct Outlet {
  const Axis& rows;
  const Positions& at;
  Signal<S> target;
  const S* bias;             // or null
  Signal<const S> residual;  // data is null where there is none
};

// The sum of a residual and a sample; the sample is rounded first.
template <class S>
static inline S sum(S residual, Sum<S> sample) {
  return nearest_of<S>(widen(residual) + rounded<S>(sample));
}

// Stores one row, with any strides. (Inlined, its loops would leave the callers too few registers:
// short signals of bfloat16 took a third longer.)
template <class S>
[[gnu::noinline]] static void store_row(const Sum<S>* z, i64 z_frame, Sum<S> bias, bool has_bias,
                                        const S* residual, i64 residual_step, S* out, i64 out_step,
                                        i64 count) {
  // Not z + 0 where there is no bias: the copy is exact for every value.
  const auto value = [&](i64 f) { return has_bias ? z[f * z_frame] + bias : z[f * z_frame]; };
  if constexpr (is_half<S>) {
    // Rounded a vector at a time, also where the output is strided.
    constexpr int lanes = Vec<S>::lanes;
    for (; z_frame == 1 && !residual && count >= lanes; count -= lanes, z += lanes) {
      const auto v = has_bias ? load(z) + bias : load(z);
      if (out_step == 1) {
        store(out, v);
      } else {
        S piece[lanes];
        store(piece, v);
        for (int i = 0; i < lanes; ++i) out[i * out_step] = piece[i];
      }
      out += lanes * out_step;
    }
    for (; z_frame == 1 && residual && residual_step == 1 && out_step == 1 && count >= lanes;
         count -= lanes, z += lanes, out += lanes, residual += lanes)
      store_nearest(out, load(residual) + rounded<S>(has_bias ? load(z) + bias : load(z)));
  }
  if (residual) {
    for (i64 f = 0; f < count; ++f)
      out[f * out_step] = sum<S>(residual[f * residual_step], value(f));
  } else if (!is_half<S> && z_frame == 1 && out_step == 1) {
    if (has_bias)
      for (i64 f = 0; f < count; ++f) out[f] = narrow<S>(z[f] + bias);
    else
      __builtin_memcpy(out, z, static_cast<size_t>(count) * sizeof(S));
  } else if (has_bias) {
    for (i64 f = 0; f < count; ++f) out[f * out_step] = narrow<S>(z[f * z_frame] + bias);
  } else {
    for (i64 f = 0; f < count; ++f) out[f * out_step] = narrow<S>(z[f * z_frame]);
  }
}

// Which of `frames` frames, `step` samples apart, have their samples inside an output of `length`
// samples. For one tap that is frames_reaching in reach.py. Tested by results: test_random_layers,
// test_lengths_around_the_tile.
struct Inside {
  i64 step, length, frames;
  bool all;  // whether all rows of all frames do, as is usual: nothing is computed then

  // The frames of which all samples from `first` to `last` do; these are the samples of frame 0.
  Range of(i64 first, i64 last) const {
    if (all) return {0, frames};
    const i64 low = smaller(larger(ceil_div(-first, step), 0), frames);
    const i64 high = floor_div(length - 1 - last, step) + 1;
    return {low, smaller(larger(high, low), frames)};
  }
};

// Stores a single frame, all of whose rows are samples. The phases of a channel are neighbours
// among the sums and in the output, and are stored as one row.
template <class S>
static void store_one_frame(const Sums<Sum<S>>& sums, i64 first_row, i64 count,
                            const Outlet<S>& out, i64 origin) {
  const Signal<S>& target = out.target;
  const Signal<const S>& residual = out.residual;
  const i64 phases = out.rows.phases;
  i64 channel = first_row / phases, row_phase = first_row % phases;
  for (i64 r = 0; r < count; ++channel, row_phase = 0) {
    const i64 stretch = smaller(phases - row_phase, count - r);
    const i64 sample = origin + row_phase;
    const S* more = nullptr;
    if (residual.data)
      more = residual.data + channel * residual.channel_stride + sample * residual.position_stride;
    store_row(sums.z + r, 1, out.bias ? widen(out.bias[channel]) : Sum<S>(0), out.bias != nullptr,
              more, residual.position_stride,
              target.data + channel * target.channel_stride + sample * target.position_stride,
              target.position_stride, stretch);
    r += stretch;
  }
}

// Whether the frames of a row are neighbours in the output, all of them.
template <class S>
static inline bool keeps_frames(const Sums<Sum<S>>& sums, const Outlet<S>& out,
                                const Inside& inside) {
  return !is_half<S> && inside.all && out.rows.phases == 1 && out.at.frame == 1 &&
         sums.frame_stride == 1 && out.target.position_stride == 1 &&
         (!out.residual.data || out.residual.position_stride == 1);
}

// Stores such rows. (The last vector of the sums is read as a whole.)
template <class T>
static void store_frames(const Sums<T>& sums, i64 first_row, i64 count, const Outlet<T>& out,
                         i64 origin) {
  constexpr i64 lanes = Vec<T>::lanes;
  typedef typename Vec<T>::type V;
  const i64 whole = sums.frames / lanes * lanes, rest = sums.frames - whole;
  for (i64 r = 0; r < count; ++r) {
    const i64 channel = first_row + r;
    const T* z = sums.z + r * sums.row_stride;
    T* to = out.target.data + channel * out.target.channel_stride + origin;
    const T* residual = nullptr;
    if (out.residual.data)
      residual = out.residual.data + channel * out.residual.channel_stride + origin;
    const T bias = out.bias ? out.bias[channel] : T(0);
    // Not z + 0 where there is no bias: the copy is exact for every value.
    const auto value = [&](i64 f) { return out.bias ? load(z + f) + bias : load(z + f); };
    for (i64 f = 0; f < whole; f += lanes)
      store(to + f, residual ? load(residual + f) + value(f) : value(f));
    if (!rest) continue;
    T last[16] = {};  // as many as any vector has
    V sample = value(whole);
    if (residual) {
      copy_few(residual + whole, last, rest);
      sample = load(last) + sample;
    }
    store(last, sample);
    copy_few(last, to + whole, rest);
  }
}
