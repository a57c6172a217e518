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
  for (i64 i = 0; i < low; ++i) {
    const i64 from = source_frame(start + i * step, length, extension);
    destination[i] = from < 0 ? T(0) : signal[from * position_stride];
  }
  for (i64 i = high; i < count; ++i) {
    const i64 from = source_frame(start + i * step, length, extension);
    destination[i] = from < 0 ? T(0) : signal[from * position_stride];
  }
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
  T sum = 0;
  for (i64 i = 0; i < count; ++i) sum += values[i] - values[i];
  return sum == 0;
}

template <class T>
static i64 row_offset(const Product& p, i64 row) {
  const i64 channel = row / p.rows.phases, phase = p.rows.first_phase + row % p.rows.phases;
  return channel * p.weight_row + phase * p.weight_row_phase;
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
