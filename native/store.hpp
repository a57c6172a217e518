// From the scratch of one panel, Z[row][frame], to the output: row (channel, phase) of frame t is
// sample t*stride + phase*dilation - padding of its channel. Bias is added here. Included inside
// the namespace of one instruction set.
//
// `residual`, where it is not null, is added: it stands where the output does, with strides of its
// own. As if it were an operation of its own, it is added to what would be stored without it.

// A residual and a sample, which is rounded first.
template <class S>
static inline S sum(S residual, Sum<S> sample) {
  return nearest_of<S>(widen(residual) + rounded<S>(sample));
}

// The same samples of P neighbouring phases, vector by vector, to where they lie side by side.
template <class S, int P>
static inline void store_phases(typename Vec<S>::type (&r)[P], S* to) {
  constexpr int lanes = Vec<S>::lanes;
  if constexpr (__is_same(S, bfloat16) && P > 1) {
    // Two neighbours are one word: half as much to shuffle.
    typename Vec<float>::type words[P / 2];
#pragma GCC unroll 8
    for (int q = 0; q < P / 2; ++q)
      words[q] = reinterpret_cast<Vec<float>::type>(pairs_of(r[2 * q], r[2 * q + 1]));
    interleave<float, P / 2>(words);
#pragma GCC unroll 8
    for (int q = 0; q < P / 2; ++q)
      store(reinterpret_cast<Pair*>(to) + q * lanes, reinterpret_cast<Bits>(words[q]));
  } else {
    interleave<S, P>(r);
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) store(to + p * lanes, r[p]);
  }
}

// P rows of consecutive phases are P interleaved signals: `lanes` frames of them in output order.
// `count` is a multiple of the lanes.
template <class S, int P>
static void store_interleaved(const Sum<S>* z, i64 z_row, Sum<S> bias, const S* residual, S* out,
                              i64 frame_step, i64 count) {
  typedef typename Vec<S>::type V;
  constexpr int lanes = Vec<S>::lanes;
  for (i64 f = 0; f < count; f += lanes) {
    V r[P];
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) r[p] = load(z + p * z_row + f) + bias;
    S* at = out + f * frame_step;
    if (frame_step == P && !residual) {
      store_phases<S, P>(r, at);
      continue;
    }
    interleave<S, P>(r);
    if (frame_step == P) {
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p)
        store_nearest(at + p * lanes, load(residual + f * P + p * lanes) + rounded<S>(r[p]));
    } else {
      constexpr int frames = lanes / P;  // in one vector
      for (int p = 0; p < P; ++p) {
        S piece[lanes];
        store(piece, r[p]);
        for (int i = 0; i < frames; ++i) {
          const i64 n = (p * frames + i) * frame_step;
          if (residual)
            for (int q = 0; q < P; ++q)
              piece[i * P + q] = sum<S>(residual[f * frame_step + n + q], widen(piece[i * P + q]));
          __builtin_memcpy(at + n, piece + i * P, P * sizeof(S));
        }
      }
    }
  }
}

// Frames [first, last) of a part of a block.
struct FrameRange {
  i64 first, last;
};

// One row, any strides.
template <class S>
static void store_row(const Sum<S>* z, i64 z_frame, Sum<S> bias, bool has_bias, const S* residual,
                      i64 residual_step, S* out, i64 out_step, i64 count) {
  // Not z + 0 where there is no bias: the copy is exact for every value.
  const auto value = [&](i64 f) { return has_bias ? z[f * z_frame] + bias : z[f * z_frame]; };
  if constexpr (is_half<S>) {
    // Rounded by vectors, wherever they go.
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

// Rows [first_row, first_row + count) of a group, `frames` frames from `first_frame` on.
// z[row * z_row + frame * z_frame]; `target` and `bias` stand at the group's first channel.
template <class S>
static void store_rows(const Sum<S>* z, i64 z_row, i64 z_frame, const Axis& rows, i64 first_row,
                       i64 count, const Positions& at, const Signal<S>& target, S* group,
                       const S* bias, const Signal<const S>& residual, i64 first_frame,
                       i64 frames) {
  constexpr int lanes = Vec<S>::lanes;
  i64 together = 1;
  if (z_frame == 1 && target.position_stride == 1 && at.phase_step == 1 &&
      (!residual.data || residual.position_stride == 1))
    while (together < lanes && rows.phases % (2 * together) == 0) together *= 2;
  while (together > 1 && (first_row % together || count % together)) together /= 2;

  // Where every row of every frame is a sample, which it mostly is, no row asks.
  const i64 origin = first_frame * at.frame + rows.first_phase * at.phase_step + at.base;
  const bool inside =
      origin >= 0 &&
      origin + (frames - 1) * at.frame + (rows.phases - 1) * at.phase_step < target.length;
  const auto range = [&](i64 offset, i64 last_offset) {
    if (inside) return FrameRange{0, frames};
    const i64 low = smaller(larger(ceil_div(-offset, at.frame), 0), frames);
    const i64 high = floor_div(target.length - 1 - last_offset, at.frame) + 1;
    return FrameRange{low, smaller(larger(high, low), frames)};
  };
  i64 channel = first_row / rows.phases, row_phase = first_row % rows.phases;
  if (inside && frames == 1 && z_row == 1 && at.phase_step == 1) {
    // The phases of one frame are neighbours here and there: a channel is a stretch.
    for (i64 r = 0; r < count; ++channel, row_phase = 0) {
      const i64 stretch = smaller(rows.phases - row_phase, count - r);
      const i64 sample = origin + row_phase;
      const S* more = nullptr;
      if (residual.data)
        more =
            residual.data + channel * residual.channel_stride + sample * residual.position_stride;
      store_row(z + r, 1, bias ? widen(bias[channel]) : Sum<S>(0), bias != nullptr, more,
                residual.position_stride,
                group + channel * target.channel_stride + sample * target.position_stride,
                target.position_stride, stretch);
      r += stretch;
    }
    return;
  }
  for (i64 r = 0; r < count; r += together, row_phase += together) {
    if (row_phase >= rows.phases) {
      row_phase = 0;
      ++channel;
    }
    const Sum<S> b = bias ? widen(bias[channel]) : Sum<S>(0);
    S* out = group + channel * target.channel_stride;
    const Sum<S>* from = z + r * z_row;
    const S* more = residual.data ? residual.data + channel * residual.channel_stride : nullptr;
    // Frames of which every phase in this set of rows is a sample of the output.
    const i64 offset = origin + row_phase * at.phase_step;
    const FrameRange whole = range(offset, offset + (together - 1) * at.phase_step);
    i64 done = whole.first;
    if (together > 1 && whole.last - whole.first >= lanes) {
      const i64 count_whole = (whole.last - whole.first) / lanes * lanes;
      S* to = out + offset + whole.first * at.frame;
      const Sum<S>* z_low = from + whole.first;
      const S* plus = more ? more + offset + whole.first * at.frame : nullptr;
      switch (together) {
        case 2: store_interleaved<S, 2>(z_low, z_row, b, plus, to, at.frame, count_whole); break;
        case 4:
          if constexpr (lanes >= 4)
            store_interleaved<S, 4>(z_low, z_row, b, plus, to, at.frame, count_whole);
          break;
        case 8:
          if constexpr (lanes >= 8)
            store_interleaved<S, 8>(z_low, z_row, b, plus, to, at.frame, count_whole);
          break;
        case 16:
          if constexpr (lanes >= 16)
            store_interleaved<S, 16>(z_low, z_row, b, plus, to, at.frame, count_whole);
          break;
      }
      done += count_whole;
    }
    if (done == frames && whole.first == 0) continue;
    // What the interleaving left: frames at the ends, each row with the range of its own.
    for (i64 p = 0; p < together; ++p) {
      const i64 start = offset + p * at.phase_step;
      const FrameRange own = range(start, start);
      const i64 step = at.frame * target.position_stride;
      const Sum<S>* row = from + p * z_row;
      const auto part = [&](i64 first, i64 last) {
        if (first < last)  // else its position may be beyond all integers
          store_row(row + first * z_frame, z_frame, b, bias != nullptr,
                    more ? more + (start + first * at.frame) * residual.position_stride : nullptr,
                    at.frame * residual.position_stride,
                    out + (start + first * at.frame) * target.position_stride, step, last - first);
      };
      part(own.first, smaller(whole.first, own.last));
      part(larger(done, own.first), own.last);
    }
  }
}

// Samples that no tap reaches hold the bias alone; rows are (batch, channel).
template <class S>
static void fill(const Signal<S>& target, const S* bias, const Signal<const S>& residual,
                 i64 channels, i64 first, i64 last) {
  for (i64 row = first; row < last; ++row) {
    S* out = target.data + (row / channels) * target.batch_stride +
             (row % channels) * target.channel_stride;
    const Sum<S> value = bias ? widen(bias[row % channels]) : Sum<S>(0);
    const S* more = residual.data ? residual.data + (row / channels) * residual.batch_stride +
                                        (row % channels) * residual.channel_stride
                                  : nullptr;
    for (i64 n = 0; n < target.length; ++n)
      out[n * target.position_stride] =
          more ? sum<S>(more[n * residual.position_stride], value) : narrow<S>(value);
  }
}
