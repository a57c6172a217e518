// Copying operands into the order in which the tile reads them. Included inside the namespace of
// one instruction set.

// The frame in [0, length) whose value extended frame t has, or -1 where there is none.
// geometry.py's Geometry.source is this rule's other half: tests hold them together.
static inline i64 source_frame(i64 t, i64 length, int extension) {
  if (t >= 0 && t < length) return t;
  if (extension == zeros) return -1;
  if (extension == replicate) return t < 0 ? 0 : length - 1;
  if (extension == reflect) {
    if (length == 1) return 0;
    const i64 period = 2 * (length - 1);
    const i64 r = ((t % period) + period) % period;
    return r < length ? r : period - r;
  }
  return ((t % length) + length) % length;
}

// destination[i] = signal[start + i * step] for i in [0, count), extended at both ends, then zeros
// up to `padded`.
template <class T>
static void copy_row(const T* signal, i64 position_stride, i64 length, i64 start, i64 step,
                     i64 count, i64 padded, int extension, T* destination) {
  for (i64 i = count; i < padded; ++i) destination[i] = T(0);
  const i64 low = smaller(larger(ceil_div(-start, step), 0), count);
  const i64 high = smaller(larger(floor_div(length - 1 - start, step) + 1, low), count);
  const auto extend = [&](i64 from, i64 to) {
    if (extension == zeros)
      for (i64 i = from; i < to; ++i) destination[i] = T(0);
    else
      for (i64 i = from; i < to; ++i)
        destination[i] =
            signal[source_frame(start + i * step, length, extension) * position_stride];
  };
  extend(0, low);
  extend(high, count);
  if (low == high) return;  // its position may be beyond all integers
  const T* from = signal + (start + low * step) * position_stride;
  const i64 by = step * position_stride;
  if (by == 1)
    __builtin_memcpy(destination + low, from, static_cast<size_t>(high - low) * sizeof(T));
  else
    for (i64 i = 0; i < high - low; ++i) destination[low + i] = from[i * by];
}

template <class T>
static bool all_finite(const T* values, i64 count) {
  // x - x is 0 for every finite x and NaN for the others.
  typedef typename Vec<T>::type V;
  constexpr i64 lanes = Vec<T>::lanes;
  V sums = {};
  i64 i = 0;
  for (; i + lanes <= count; i += lanes) sums += load(values + i) - load(values + i);
  T sum = 0;
  for (i64 lane = 0; lane < lanes; ++lane) sum += sums[lane];
  for (; i < count; ++i) sum += values[i] - values[i];
  return sum == 0;
}

template <class T>
static i64 row_offset(const Product& p, i64 row) {
  const i64 channel = row / p.rows.phases, phase = p.rows.first_phase + row % p.rows.phases;
  return channel * p.weight_row + phase * p.weight_row_phase;
}

// Where the weights of one summed channel and tap stand in a panel of C, tap by tap.
struct Steps {
  const Product& product;
  i64 channel, tap;

  i64 next() {
    const Segment& most = product.segments[0];
    const Segment& fewer = product.segments[1];
    const i64 phase = tap % product.weight_shift, j = tap / product.weight_shift;
    i64 step = (channel * most.axis.phases + phase) * most.shifts + j;
    if (phase >= most.axis.phases)
      step = most.axis.channels * most.axis.phases * most.shifts +
             (channel * fewer.axis.phases + phase - most.axis.phases) * fewer.shifts + j;
    if (++tap == product.weight_channel) {
      tap = 0;
      ++channel;
    }
    return step;
  }
};

// A panel of C is the weight transposed: a vector of rows at a time, whose taps are read in order.
template <class T>
static void transpose_panel(const Product& p, const T* weight, i64 rows, T* out) {
  typedef typename Vec<T>::type V;
  constexpr i64 lanes = Vec<T>::lanes;
  const i64 terms = p.weight_row;  // (channel, tap) of one row, contiguous
  for (i64 row = 0; row < p.step_stride; row += lanes) {
    const i64 filled = smaller(lanes, rows - row);
    Steps steps{p, 0, 0};
    i64 q = 0;
    if (filled == lanes)
      for (; q + lanes <= terms; q += lanes) {
        V r[lanes];
#pragma GCC unroll 16
        for (i64 i = 0; i < lanes; ++i) r[i] = load(weight + (row + i) * p.weight_row + q);
        interleave<T, lanes>(r);
#pragma GCC unroll 16
        for (i64 i = 0; i < lanes; ++i) store(out + steps.next() * p.step_stride + row, r[i]);
      }
    for (; q < terms; ++q) {
      T* to = out + steps.next() * p.step_stride + row;
      for (i64 i = 0; i < lanes; ++i)
        to[i] = i < filled ? weight[(row + i) * p.weight_row + q] : T(0);
    }
  }
}

// Panels [first, last) of one group: packed[panel][(segment, u, j)][row in panel]. The rows that
// fill up the last panel are zero and never stored.
template <class T>
static void pack_panels(const Product& p, const T* weight, T* packed, i64 first, i64 last) {
  constexpr i64 width = panel_vectors * Vec<T>::lanes;
  const i64 rows = p.rows.channels * p.rows.phases;
  i64 offset[width];
  for (i64 panel = first; panel < last; ++panel) {
    T* out = packed + p.packed_offset + panel * p.panel_stride;
    const i64 filled = smaller(width, rows - panel * width);
    if (p.transposed) {
      transpose_panel(p, weight + panel * width * p.weight_row, filled, out);
      continue;
    }
    for (i64 r = 0; r < filled; ++r) offset[r] = row_offset<T>(p, panel * width + r);
    for (const Segment& segment : p.segments) {
      const Axis& axis = segment.axis;
      for (i64 u = 0; u < axis.channels * axis.phases; ++u) {
        const T* from = weight + (u / axis.phases) * p.weight_channel +
                        (axis.first_phase + u % axis.phases) * p.weight_channel_phase;
        for (i64 j = 0; j < segment.shifts; ++j, from += p.weight_shift, out += p.step_stride) {
          for (i64 r = 0; r < filled; ++r) out[r] = from[offset[r]];
          for (i64 r = filled; r < p.step_stride; ++r) out[r] = T(0);
        }
      }
    }
  }
}
