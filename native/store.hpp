// From the scratch of one panel, Z[row][frame], to the output: row (channel, phase) of frame t is
// sample t*stride + phase*dilation - padding of its channel. Bias is added here. Included inside
// the namespace of one instruction set.
//
// `residual`, where it is not null, is added: it stands where the output does, with strides of its
// own.

// P rows of consecutive phases are P interleaved signals: `lanes` frames of them in output order.
// `count` is a multiple of the lanes.
template <class T, int P>
static void store_interleaved(const T* z, i64 z_row, T bias, const T* residual, T* out,
                              i64 frame_step, i64 count) {
  typedef typename Vec<T>::type V;
  constexpr int lanes = Vec<T>::lanes;
  for (i64 f = 0; f < count; f += lanes) {
    V r[P];
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) r[p] = load(z + p * z_row + f) + bias;
    interleave<T, P>(r);
    T* at = out + f * frame_step;
    if (frame_step == P) {
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p)
        store(at + p * lanes, residual ? load(residual + f * frame_step + p * lanes) + r[p] : r[p]);
    } else {
      constexpr int frames = lanes / P;  // in one vector
      for (int p = 0; p < P; ++p) {
        T piece[lanes];
        store(piece, r[p]);
        for (int i = 0; i < frames; ++i) {
          const i64 n = (p * frames + i) * frame_step;
          if (residual)
            for (int q = 0; q < P; ++q) piece[i * P + q] += residual[f * frame_step + n + q];
          __builtin_memcpy(at + n, piece + i * P, P * sizeof(T));
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
template <class T>
static void store_row(const T* z, i64 z_frame, T bias, bool has_bias, const T* residual,
                      i64 residual_step, T* out, i64 out_step, i64 count) {
  // Not z + 0 where there is no bias: the copy is exact for every value.
  if (residual) {
    for (i64 f = 0; f < count; ++f) {
      const T value = has_bias ? z[f * z_frame] + bias : z[f * z_frame];
      out[f * out_step] = residual[f * residual_step] + value;
    }
  } else if (z_frame == 1 && out_step == 1) {
    if (has_bias)
      for (i64 f = 0; f < count; ++f) out[f] = z[f] + bias;
    else
      __builtin_memcpy(out, z, static_cast<size_t>(count) * sizeof(T));
  } else if (has_bias) {
    for (i64 f = 0; f < count; ++f) out[f * out_step] = z[f * z_frame] + bias;
  } else {
    for (i64 f = 0; f < count; ++f) out[f * out_step] = z[f * z_frame];
  }
}

// Rows [first_row, first_row + count) of a group, `frames` frames from `first_frame` on.
// z[row * z_row + frame * z_frame]; `target` and `bias` stand at the group's first channel.
template <class T>
static void store_rows(const T* z, i64 z_row, i64 z_frame, const Axis& rows, i64 first_row,
                       i64 count, const Positions& at, const Signal<T>& target, T* group,
                       const T* bias, const Signal<const T>& residual, i64 first_frame,
                       i64 frames) {
  constexpr int lanes = Vec<T>::lanes;
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
      const T* more = nullptr;
      if (residual.data)
        more =
            residual.data + channel * residual.channel_stride + sample * residual.position_stride;
      store_row(z + r, 1, bias ? bias[channel] : T(0), bias != nullptr, more,
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
    const T b = bias ? bias[channel] : T(0);
    T* out = group + channel * target.channel_stride;
    const T* from = z + r * z_row;
    const T* more = residual.data ? residual.data + channel * residual.channel_stride : nullptr;
    // Frames of which every phase in this set of rows is a sample of the output.
    const i64 offset = origin + row_phase * at.phase_step;
    const FrameRange whole = range(offset, offset + (together - 1) * at.phase_step);
    i64 done = whole.first;
    if (together > 1 && whole.last - whole.first >= lanes) {
      const i64 count_whole = (whole.last - whole.first) / lanes * lanes;
      T* to = out + offset + whole.first * at.frame;
      const T* z_low = from + whole.first;
      const T* plus = more ? more + offset + whole.first * at.frame : nullptr;
      switch (together) {
        case 2: store_interleaved<T, 2>(z_low, z_row, b, plus, to, at.frame, count_whole); break;
        case 4:
          if constexpr (lanes >= 4)
            store_interleaved<T, 4>(z_low, z_row, b, plus, to, at.frame, count_whole);
          break;
        case 8:
          if constexpr (lanes >= 8)
            store_interleaved<T, 8>(z_low, z_row, b, plus, to, at.frame, count_whole);
          break;
        case 16:
          if constexpr (lanes >= 16)
            store_interleaved<T, 16>(z_low, z_row, b, plus, to, at.frame, count_whole);
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
      const T* row = from + p * z_row;
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
template <class T>
static void fill(const Signal<T>& target, const T* bias, const Signal<const T>& residual,
                 i64 channels, i64 first, i64 last) {
  for (i64 row = first; row < last; ++row) {
    T* out = target.data + (row / channels) * target.batch_stride +
             (row % channels) * target.channel_stride;
    const T value = bias ? bias[row % channels] : T(0);
    const T* more = residual.data ? residual.data + (row / channels) * residual.batch_stride +
                                        (row % channels) * residual.channel_stride
                                  : nullptr;
    for (i64 n = 0; n < target.length; ++n)
      out[n * target.position_stride] = more ? more[n * residual.position_stride] + value : value;
  }
}
