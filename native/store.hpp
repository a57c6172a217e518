// From the sums of one panel to the output: row (channel, phase) of frame t is sample
// t*stride + phase*dilation - padding of its channel. Bias is added here. Included inside the
// namespace of one instruction set.

// Stores a vector of frames of P neighbouring phases: all phases of the first frame, then all of
// the second, and so on.
template <class S, int P>
static inline void store_phases(typename Vec<S>::type (&r)[P], S* to) {
  constexpr int lanes = Vec<S>::lanes;
  if constexpr (__is_same(S, bfloat16) && P % 2 == 0) {
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

// Sums of P rows, which are consecutive phases, from a frame on, with the bias.
template <class S, int P>
static inline void load_phases(const Sum<S>* const (&z)[P], i64 frame, Sum<S> bias,
                               typename Vec<S>::type (&r)[P]) {
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p) r[p] = load(z[p] + frame) + bias;
}

// Stores `count` frames of P rows, which are consecutive phases, in the order of the samples: those
// of a frame follow on those of the frame before. `count` is a multiple of the lanes.
template <class S, int P>
static void store_interleaved(const Sum<S>* const (&z)[P], Sum<S> bias, const S* residual, S* out,
                              i64 count) {
  constexpr int lanes = Vec<S>::lanes;
  typename Vec<S>::type r[P];
  // (A loop for each case: one for both would keep its vectors in memory.)
  if (!residual)
    for (i64 f = 0; f < count; f += lanes) {
      load_phases<S, P>(z, f, bias, r);
      store_phases<S, P>(r, out + f * P);
    }
  else
    for (i64 f = 0; f < count; f += lanes) {
      load_phases<S, P>(z, f, bias, r);
      interleave<S, P>(r);
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        const i64 n = f * P + p * lanes;
        store_nearest(out + n, load(residual + n) + rounded<S>(r[p]));
      }
    }
}

// The same for frames that are further apart: `frame_step` samples.
template <class S, int P>
static void store_apart(const Sum<S>* const (&z)[P], Sum<S> bias, const S* residual, S* out,
                        i64 frame_step, i64 count) {
  constexpr int lanes = Vec<S>::lanes;
  for (i64 f = 0; f < count; f += lanes) {
    typename Vec<S>::type r[P];
    S pieces[P * lanes];
    load_phases<S, P>(z, f, bias, r);
    store_phases<S, P>(r, pieces);
    for (int i = 0; i < lanes; ++i) {
      const i64 n = (f + i) * frame_step;
      if (residual)
        for (int q = 0; q < P; ++q)
          pieces[i * P + q] = sum<S>(residual[n + q], widen(pieces[i * P + q]));
      __builtin_memcpy(out + n, pieces + i * P, P * sizeof(S));
    }
  }
}

// `together` rows, which are neighbouring phases of one channel.
template <class S>
struct Rows {
  i64 together;
  const Sum<S>* z;  // of the first one
  i64 offset;       // its sample in the first frame
  S* target;        // of the channel
  const S* residual;
  Sum<S> bias;
  bool has_bias;
};

// Whether rows can be interleaved in registers.
template <class S>
static inline bool is_interleaved(const Sums<Sum<S>>& sums, const Outlet<S>& out) {
  return sums.frame_stride == 1 && out.target.position_stride == 1 && out.at.phase_step == 1 &&
         (!out.residual.data || out.residual.position_stride == 1);
}

// How many of `count` rows are interleaved at a time where they are not the phases of whole
// channels: a power of two.
template <class S>
static inline i64 rows_together(const Sums<Sum<S>>& sums, i64 first_row, i64 count,
                                const Outlet<S>& out) {
  i64 together = 1;
  if (is_interleaved(sums, out))
    while (together < Vec<S>::lanes && out.rows.phases % (2 * together) == 0) together *= 2;
  while (together > 1 && (first_row % together || count % together)) together /= 2;
  return together;
}

// The numbers of phases that are interleaved: action(constant) for the one that `rows` is.
static constexpr bool riffles = FS_VECTOR_BYTES == 64;  // where any shuffle of two vectors is one

template <class S, class Action>
static inline void with_phases(i64 rows, const Action& action) {
  constexpr int lanes = Vec<S>::lanes;
  switch (rows) {
    case 2: return action(Constant<2>{});
    case 4:
      if constexpr (lanes >= 4) return action(Constant<4>{});
      break;
    case 8:
      if constexpr (lanes >= 8) return action(Constant<8>{});
      break;
    case 16:
      if constexpr (lanes >= 16) return action(Constant<16>{});
      break;
  }
  if constexpr (riffles) switch (rows) {
      case 3: return action(Constant<3>{});
      case 5: return action(Constant<5>{});
      case 6: return action(Constant<6>{});
      case 7: return action(Constant<7>{});
      case 10: return action(Constant<10>{});
      case 12: return action(Constant<12>{});
    }
}

// Whether the phases of a channel are interleaved all at once.
template <class S>
static inline bool is_whole(i64 phases) {
  bool known = false;
  with_phases<S>(phases, [&](auto) { known = true; });
  return known;
}

// Stores whole vectors of the frames `whole`, in which every row is a sample. Returns how many
// frames it has stored.
template <class S>
static inline i64 store_vectors(const Rows<S>& rows, i64 z_row, i64 frame_step,
                                const Range& whole) {
  constexpr int lanes = Vec<S>::lanes;
  const i64 count = (whole.last - whole.first) / lanes * lanes;
  const i64 start = rows.offset + whole.first * frame_step;
  with_phases<S>(rows.together, [&](auto constant) {
    constexpr int P = decltype(constant)::value;
    const Sum<S>* z[P];
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) z[p] = rows.z + whole.first + p * z_row;
    const S* residual = rows.residual ? rows.residual + start : nullptr;
    if (frame_step == P)
      store_interleaved<S, P>(z, rows.bias, residual, rows.target + start, count);
    else
      store_apart<S, P>(z, rows.bias, residual, rows.target + start, frame_step, count);
  });
  return count;
}

// Stores all samples of a channel, of which each frame has P, one for each row. Those of a vector
// begin with the channel's first sample, whose phase may be any: rows before it are read a frame
// later.
template <class S, int P>
static void store_channel(const Rows<S>& rows, i64 z_row, const Inside& inside) {
  constexpr int lanes = Vec<S>::lanes;
  const i64 first = larger(rows.offset, 0);
  i64 samples = smaller(rows.offset + inside.frames * P, inside.length) - first;
  if (samples <= 0) return;
  const i64 skipped = (first - rows.offset) / P, turn = (first - rows.offset) % P;
  const Sum<S>* z[P];
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p)
    z[p] = rows.z + skipped + (turn + p < P ? (turn + p) * z_row : (turn + p - P) * z_row + 1);
  S* to = rows.target + first;
  const S* residual = rows.residual ? rows.residual + first : nullptr;
  const i64 whole = samples / (P * lanes) * lanes;
  store_interleaved<S, P>(z, rows.bias, residual, to, whole);
  samples -= whole * P;
  if (samples == 0) return;
  to += whole * P;
  typename Vec<S>::type r[P];
  alignas(FS_VECTOR_BYTES) S last[P * lanes];
  load_phases<S, P>(z, whole, rows.bias, r);
  store_phases<S, P>(r, last);
  if (residual)
    for (i64 i = 0; i < samples; ++i) to[i] = sum<S>(residual[whole * P + i], widen(last[i]));
  else
    copy_few(last, to, samples);
}

// Stores the frames that store_vectors has left, those outside [whole.first, last_done). Each row
// has its own range of frames inside the output.
template <class S>
static inline void store_ends(const Sums<Sum<S>>& sums, const Rows<S>& rows, const Inside& inside,
                              const Outlet<S>& out, const Range& whole, i64 last_done) {
  const i64 z_frame = sums.frame_stride, frame_step = out.at.frame;
  const i64 to_step = out.target.position_stride, from_step = out.residual.position_stride;
  for (i64 p = 0; p < rows.together; ++p) {
    const i64 start = rows.offset + p * out.at.phase_step;
    const Range own = rows.together == 1 ? whole : inside.of(start, start);
    const Sum<S>* row = rows.z + p * sums.row_stride;
    const auto part = [&](i64 first, i64 last) {
      if (first >= last) return;  // the integers below may overflow
      const i64 sample = start + first * frame_step;
      store_row(row + first * z_frame, z_frame, rows.bias, rows.has_bias,
                rows.residual ? rows.residual + sample * from_step : nullptr,
                frame_step * from_step, rows.target + sample * to_step, frame_step * to_step,
                last - first);
    };
    part(own.first, smaller(whole.first, own.last));
    part(larger(last_done, own.first), own.last);
  }
}

// Stores rows [first_row, first_row + count) of a group.
template <class S>
static void store_rows(const Sums<Sum<S>>& sums, i64 first_row, i64 count, const Outlet<S>& out) {
  const Axis& axis = out.rows;
  const Positions& at = out.at;
  const i64 origin = sums.first_frame * at.frame + axis.first_phase * at.phase_step + at.base;
  const i64 last = origin + (sums.frames - 1) * at.frame + (axis.phases - 1) * at.phase_step;
  const Inside inside{at.frame, out.target.length, sums.frames,
                      origin >= 0 && last < out.target.length};
  if (inside.all && sums.frames == 1 && sums.row_stride == 1 && at.phase_step == 1)
    return store_one_frame(sums, first_row, count, out, origin);
  if constexpr (!is_half<S>)
    if (keeps_frames(sums, out, inside)) return store_frames(sums, first_row, count, out, origin);
  const i64 fewest = rows_together(sums, first_row, count, out);
  const bool whole_channels =
      at.frame == axis.phases && is_interleaved(sums, out) && is_whole<S>(axis.phases);
  i64 channel = first_row / axis.phases, row_phase = first_row % axis.phases;
  for (i64 r = 0, together; r < count; r += together, row_phase += together) {
    if (row_phase >= axis.phases) {
      row_phase = 0;
      ++channel;
    }
    const bool is_channel = whole_channels && row_phase == 0 && count - r >= axis.phases;
    together = is_channel ? axis.phases : fewest;
    const i64 offset = origin + row_phase * at.phase_step;
    const Rows<S> rows{
        together,
        sums.z + r * sums.row_stride,
        offset,
        out.target.data + channel * out.target.channel_stride,
        out.residual.data ? out.residual.data + channel * out.residual.channel_stride : nullptr,
        out.bias ? widen(out.bias[channel]) : Sum<S>(0),
        out.bias != nullptr};
    if (is_channel) {
      with_phases<S>(together, [&](auto constant) {
        store_channel<S, decltype(constant)::value>(rows, sums.row_stride, inside);
      });
      continue;
    }
    // The frames in which each of these rows is a sample of the output.
    const Range whole = inside.of(offset, offset + (together - 1) * at.phase_step);
    i64 done = whole.first;
    if (together > 1 && whole.last - whole.first >= Vec<S>::lanes)
      done += store_vectors(rows, sums.row_stride, at.frame, whole);
    if (done < sums.frames || whole.first > 0) store_ends(sums, rows, inside, out, whole, done);
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
