// What the map R, the gradient of the weight, is a sum of, and how that sum is cut. Included inside
// the namespace of one instruction set.
//
//     gw[i, (c, phase + j*step)] = sum over (b, t) of  xe[b, i, t - j*shift] * gy[b, (c, phase), t]
//
// The frames t of a batch entry are cut into runs. The products of a run are added up first, then
// the runs, entry after entry: that order depends on the layer and the length alone. The work is
// cut into units, which threads share: a unit is a block of rows (input channels), of panels of
// columns (c, phase) and of shifts j, with all its runs.

// Frames of a run in one word.
template <class W>
static constexpr i64 frames_per_word = is_pair<W> ? 2 : 1;

template <class T>
static constexpr i64 grad_width() {
  return tile_vectors * Vec<T>::lanes;
}

template <class T>
struct GradUnit {
  i64 group, first_row, rows, first_panel, panels, first_shift, shifts;
};

template <class T>
static GradUnit<T> grad_unit(const WeightGradCall<T>& call, i64 unit) {
  const i64 all_columns = call.product.rows.channels * call.product.rows.phases;
  const i64 all_panels = (all_columns + grad_width<T>() - 1) / grad_width<T>();
  GradUnit<T> u;
  const i64 shift_block = unit % call.shift_blocks;
  unit /= call.shift_blocks;
  const i64 column_block = unit % call.column_blocks;
  unit /= call.column_blocks;
  u.group = unit / call.row_blocks;
  u.first_row = unit % call.row_blocks * call.row_block;
  u.rows = smaller(call.row_block, call.in_channels - u.first_row);
  u.first_panel = column_block * call.column_block;
  u.panels = smaller(call.column_block, all_panels - u.first_panel);
  u.first_shift = shift_block * call.shift_block;
  u.shifts = smaller(call.shift_block, call.product.segments[0].shifts - u.first_shift);
  return u;
}

// One run of frames of one batch entry, for one unit.
template <class S>
struct GradRun {
  const S* x;   // channel 0 of the unit
  const S* gy;  // channel 0 of the group
  i64 first_frame, frames;
  i64 first_shift, shifts;
};

template <class S>
static GradRun<S> grad_run(const WeightGradCall<S>& call, const GradUnit<S>& u, i64 entry,
                           i64 index) {
  const Signal<const S>&x = call.input, &gy = call.grad_output;
  const i64 begin = index * call.run_frames;
  return {x.data + entry * x.batch_stride +
              (u.group * call.in_channels + u.first_row) * x.channel_stride,
          gy.data + entry * gy.batch_stride + u.group * call.out_channels * gy.channel_stride,
          call.first_frame + begin,
          smaller(call.run_frames, call.frames - begin),
          u.first_shift,
          u.shifts};
}

// Absent terms. A product whose frame or sample does not exist is no term of the sum. A zero stands
// in its place, which changes no bit as long as what it meets is finite. So runs and shifts without
// any frame of the signal are left out; of the others, those that are not `inside` are looked
// through for Inf and NaN, and where there is one, products are added one by one: those that exist.

// Which frames and samples exist is what taps_reaching in reach.py says with `within`. Tested by
// results: test_nan_and_inf_go_where_the_definition_says, test_random_layers.

// Whether every frame and every sample that the run would multiply exists.
template <class T>
static bool inside(const WeightGradCall<T>& call, const GradRun<T>& run) {
  const Axis& axis = call.product.rows;
  const Positions& at = call.output_at;
  const i64 shift = -call.product.shift_frames;
  const i64 last = run.first_frame + run.frames - 1;
  const i64 last_phase = axis.first_phase + axis.phases - 1;
  const bool samples =
      run.first_frame * at.frame + axis.first_phase * at.phase_step + at.base >= 0 &&
      last * at.frame + last_phase * at.phase_step + at.base < call.grad_output.length;
  const bool frames = run.first_frame - (run.first_shift + run.shifts - 1) * shift >= 0 &&
                      last - run.first_shift * shift < call.input.length;
  return samples && (frames || call.extension != zeros);
}

// Whether the sample of a column in frame t exists. (The columns of a depthwise layer are its
// phases.)
template <class T>
static inline bool sample_exists(const WeightGradCall<T>& call, i64 column, i64 t) {
  const Axis& axis = call.product.rows;
  const Positions& at = call.output_at;
  const i64 n = t * at.frame + (axis.first_phase + column % axis.phases) * at.phase_step + at.base;
  return n >= 0 && n < call.grad_output.length;
}

template <class T>
static inline bool frame_exists(const WeightGradCall<T>& call, i64 t) {
  return call.extension != zeros || (t >= 0 && t < call.input.length);
}

// The runs that have frames of the signal in them for some shift of the unit; the others would add
// zeros, which changes no bit.
template <class T>
static Range runs_onto(const WeightGradCall<T>& call, i64 first_shift, i64 shifts) {
  const i64 runs = (call.frames + call.run_frames - 1) / call.run_frames;
  if (call.extension != zeros) return {0, runs};
  const i64 shift = -call.product.shift_frames;
  const i64 first = first_shift * shift - call.first_frame;
  const i64 last = (first_shift + shifts - 1) * shift + call.input.length - 1 - call.first_frame;
  const i64 from = larger(floor_div(first, call.run_frames), 0);
  return {from, larger(from, smaller(floor_div(last, call.run_frames) + 1, runs))};
}

template <class T>
static bool reaches_signal(const WeightGradCall<T>& call, const GradRun<T>& run, i64 shift) {
  if (call.extension != zeros) return true;
  const i64 first = run.first_frame + shift * call.product.shift_frames;
  return first < call.input.length && first + run.frames > 0;
}

// The shifts of a unit, counted from its first one, for which the run has frames of the signal.
template <class S>
static Range shifts_of_run(const WeightGradCall<S>& call, const GradRun<S>& run) {
  i64 first = 0, last = run.shifts;
  while (first < last && !reaches_signal(call, run, run.first_shift + first)) ++first;
  while (first < last && !reaches_signal(call, run, run.first_shift + last - 1)) --last;
  return {first, last};
}
