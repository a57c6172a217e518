// The map R: the gradient of the weight, a sum over batch and time. Included inside the namespace
// of one instruction set.
//
//     gw[i, (c, m)] = sum over (b, t) of xe[b, i, t] * gy[b, c, t*stride + m*dilation - padding]
//
// The same tile again: columns (c, m) along the vector, input channels broadcast, frames summed in
// runs of run_steps that begin anew with every batch entry and interval.

template <class T>
static constexpr i64 grad_width() {
  return tile_vectors * Vec<T>::lanes;
}

template <class T>
struct GradScratch {
  T* z;        // [column panel][row][column]
  T* columns;  // [frame][column] of one panel
  T* rows;     // [row tile][frame][row]
};

template <class T>
static i64 weight_grad_scratch(const WeightGradCall<T>& call) {
  const i64 rows = round_up(call.row_block, tile_rows);
  return call.column_block * rows * grad_width<T>() + run_steps * grad_width<T>() +
         rows * run_steps;
}

template <class T>
static inline i64 first_position(const WeightGradCall<T>& call, i64 t) {
  return t * call.stride - call.padding_left;
}

// columns[f][column] = the sample of grad_output that frame t0 + f reaches by the column's tap.
template <class T>
static void pack_columns(const WeightGradCall<T>& call, const T* group, i64 first, i64 count,
                         i64 t0, i64 frames, T* columns) {
  constexpr i64 width = grad_width<T>();
  const Signal<const T>& gy = call.grad_output;
  for (i64 col = 0; col < count;) {
    const i64 channel = (first + col) / call.kernel, tap = (first + col) % call.kernel;
    const i64 taps = smaller(call.kernel - tap, count - col);
    const T* from = group + channel * gy.channel_stride;
    for (i64 f = 0; f < frames; ++f) {
      const i64 n = first_position(call, t0 + f) + tap * call.dilation;
      T* out = columns + f * width + col;
      if (n >= 0 && n + (taps - 1) * call.dilation < gy.length) {
        const T* p = from + n * gy.position_stride;
        const i64 step = call.dilation * gy.position_stride;
        if (step == 1)
          for (i64 m = 0; m < taps; ++m) out[m] = p[m];
        else
          for (i64 m = 0; m < taps; ++m) out[m] = p[m * step];
      } else {
        for (i64 m = 0; m < taps; ++m) {
          const i64 at = n + m * call.dilation;
          out[m] = at >= 0 && at < gy.length ? from[at * gy.position_stride] : T(0);
        }
      }
    }
    col += taps;
  }
  for (i64 f = 0; f < frames; ++f)
    for (i64 col = count; col < width; ++col) columns[f * width + col] = T(0);
}

// rows[tile][f][row in tile]: input channels, extended, transposed. Returns whether all are finite.
template <class T>
static bool pack_rows(const WeightGradCall<T>& call, const T* group, i64 count, i64 t0, i64 frames,
                      T* rows) {
  const Signal<const T>& x = call.input;
  T sum = 0;
  for (i64 i = 0; i < count; ++i) {
    const T* channel = group + i * x.channel_stride;
    T* out = rows + (i / tile_rows) * tile_rows * frames + i % tile_rows;
    for (i64 f = 0; f < frames; ++f) {
      const i64 t = source_frame(t0 + f, x.length, call.extension);
      const T value = t < 0 ? T(0) : channel[t * x.position_stride];
      out[f * tile_rows] = value;
      sum += value - value;
    }
  }
  for (i64 i = count; i < round_up(count, tile_rows); ++i) {
    T* out = rows + (i / tile_rows) * tile_rows * frames + i % tile_rows;
    for (i64 f = 0; f < frames; ++f) out[f * tile_rows] = T(0);
  }
  return sum == 0;
}

// One run, one by one, where a frame that is not finite meets a sample that does not exist.
template <class T>
static void add_present(const WeightGradCall<T>& call, const T* rows, const T* columns,
                        i64 row_count, i64 first_column, i64 column_count, i64 t0, i64 frames, T* z,
                        bool first) {
  constexpr i64 width = grad_width<T>();
  for (i64 i = 0; i < row_count; ++i)
    for (i64 col = 0; col < column_count; ++col) {
      const i64 tap = (first_column + col) % call.kernel;
      T acc = 0;
      for (i64 f = 0; f < frames; ++f) {
        const i64 n = first_position(call, t0 + f) + tap * call.dilation;
        if (n >= 0 && n < call.grad_output.length)
          acc += rows[(i / tile_rows) * tile_rows * frames + f * tile_rows + i % tile_rows] *
                 columns[f * width + col];
      }
      T* at = z + i * width + col;
      *at = (first ? T(0) : *at) + acc;
    }
}

template <class T>
static void weight_grad_unit(const WeightGradCall<T>& call, i64 unit, const GradScratch<T>& s) {
  constexpr i64 width = grad_width<T>();
  const i64 all_columns = call.out_channels * call.kernel;
  const i64 column_block = unit % call.column_blocks, rest = unit / call.column_blocks;
  const i64 row_block = rest % call.row_blocks, group = rest / call.row_blocks;
  const i64 first_row = row_block * call.row_block;
  const i64 rows = smaller(call.row_block, call.in_channels - first_row);
  const i64 first_panel = column_block * call.column_block;
  const i64 panels = smaller(call.column_block, (all_columns + width - 1) / width - first_panel);
  const i64 z_panel = round_up(call.row_block, tile_rows) * width;

  bool first = true;
  for (i64 b = 0; b < call.batch; ++b) {
    const T* x = call.input.data + b * call.input.batch_stride +
                 (group * call.in_channels + first_row) * call.input.channel_stride;
    const T* gy = call.grad_output.data + b * call.grad_output.batch_stride +
                  group * call.out_channels * call.grad_output.channel_stride;
    for (i64 k = 0; k < call.interval_count; ++k) {
      const i64 stop = call.intervals[2 * k + 1];
      for (i64 t0 = call.intervals[2 * k]; t0 < stop; t0 += run_steps) {
        const i64 frames = smaller(run_steps, stop - t0);
        const bool finite = pack_rows(call, x, rows, t0, frames, s.rows);
        const bool inside =
            first_position(call, t0) >= 0 &&
            first_position(call, t0 + frames - 1) + (call.kernel - 1) * call.dilation <
                call.grad_output.length;
        for (i64 panel = 0; panel < panels; ++panel) {
          const i64 column = (first_panel + panel) * width;
          const i64 columns = smaller(width, all_columns - column);
          pack_columns(call, gy, column, columns, t0, frames, s.columns);
          T* z = s.z + panel * z_panel;
          if (!finite && !inside) {
            add_present(call, s.rows, s.columns, rows, column, columns, t0, frames, z, first);
            continue;
          }
          const Strides<T> strides{width, 0, tile_rows, 0};
          const i64 vectors = (columns + Vec<T>::lanes - 1) / Vec<T>::lanes;
          for (i64 i = 0; i < rows; i += tile_rows)
            tiles<T>.by_size[smaller(tile_rows, rows - i) - 1][vectors - 1](
                s.columns, s.rows + i * frames, strides, frames, 1, z + i * width, width, first);
        }
        first = false;
      }
    }
  }
  T* out = call.grad_weight + (group * call.in_channels + first_row) * all_columns;
  for (i64 panel = 0; panel < panels; ++panel) {
    const i64 column = (first_panel + panel) * width;
    const i64 columns = smaller(width, all_columns - column);
    for (i64 i = 0; i < rows; ++i)
      for (i64 col = 0; col < columns; ++col)
        out[i * all_columns + column + col] = first ? T(0) : s.z[panel * z_panel + i * width + col];
  }
}

template <class T>
static void weight_grad_units(const WeightGradCall<T>& call, i64 first, i64 last, T* scratch) {
  const i64 z = call.column_block * round_up(call.row_block, tile_rows) * grad_width<T>();
  const GradScratch<T> s{scratch, scratch + z, scratch + z + run_steps * grad_width<T>()};
  for (i64 unit = first; unit < last; ++unit) weight_grad_unit(call, unit, s);
}
