// The map R with one channel in and one out: no channels to put along the vector, so time goes
// there, and each run ends in a sum over lanes. Included inside the namespace of one instruction
// set.
//
// Sums of several phases and shifts are held in registers at once: each vector of samples and of
// frames is then loaded for several products.

static constexpr int dot_phases = 4;                                 // at once, at most
static constexpr int dot_sums = FS_VECTOR_REGISTERS == 32 ? 12 : 6;  // of two vectors each
static constexpr int dot_shifts(int phases) { return dot_sums / phases; }

// Frames of a run are added to two vectors in turn, these to each other, and then the upper half of
// the lanes to the lower one, until one is left.
template <class T>
static inline T sum_of_lanes(typename Vec<T>::type even, typename Vec<T>::type odd) {
  constexpr int lanes = Vec<T>::lanes;
  T sums[lanes];
  store(sums, even + odd);
#pragma GCC unroll 4
  for (int half = lanes / 2; half > 0; half /= 2)
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
  return sums[0];
}

// z[p * z_phase + j] += the sum of samples[p * step + f] * frames[j * shift + f] over f; `count` is
// a multiple of the lanes.
template <class T, int P, int J>
static void dots(const T* samples, i64 step, const T* frames, i64 shift, i64 count, T* z,
                 i64 z_phase) {
  typedef typename Vec<T>::type V;
  constexpr i64 lanes = Vec<T>::lanes;
  V sums[2][P][J] = {};
  const auto add = [&](V(&to)[P][J], i64 f) {
    V y[P];
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) y[p] = load(samples + p * step + f);
#pragma GCC unroll 12
    for (int j = 0; j < J; ++j) {
      const V x = in_register(load(frames + j * shift + f));
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) to[p][j] += x * y[p];
    }
  };
  i64 f = 0;
  for (; f + 2 * lanes <= count; f += 2 * lanes) {
    add(sums[0], f);
    add(sums[1], f + lanes);
  }
  if (f < count) add(sums[0], f);
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p)
#pragma GCC unroll 12
    for (int j = 0; j < J; ++j) z[p * z_phase + j] += sum_of_lanes<T>(sums[0][p][j], sums[1][p][j]);
}

template <class T>
struct DotTable {
  void (*by_size[dot_phases][dot_sums])(const T*, i64, const T*, i64, i64, T*, i64);
};

template <class T, int P, int J>
static constexpr void fill_dots(DotTable<T>& table) {
  table.by_size[P - 1][J - 1] = dots<T, P, J>;
  if constexpr (J > 1)
    fill_dots<T, P, J - 1>(table);
  else if constexpr (P > 1)
    fill_dots<T, P - 1, dot_shifts(P - 1)>(table);
}

template <class T>
static constexpr DotTable<T> make_dots() {
  DotTable<T> table{};
  fill_dots<T, dot_phases, dot_shifts(dot_phases)>(table);
  return table;
}

template <class T>
static constexpr DotTable<T> dot_table = make_dots<T>();

// The sum of a phase and a shift over one run, from the products whose frame and sample exist.
template <class S>
static Sum<S> dot_present(const WeightGradCall<S>& call, const GradRun<S>& run, i64 phase,
                          i64 shift, const Sum<S>* samples, const Sum<S>* frames) {
  constexpr i64 lanes = Vec<S>::lanes;
  Sum<S> sums[2 * lanes] = {};
  for (i64 f = 0; f < run.frames; ++f) {
    const i64 t = run.first_frame + f;
    if (sample_exists(call, phase, t) && frame_exists(call, t + shift * call.product.shift_frames))
      sums[f % (2 * lanes)] = multiply_add(frames[f], samples[f], sums[f % (2 * lanes)]);
  }
  return sum_of_lanes<Sum<S>>(load(sums), load(sums + lanes));
}

template <class S>
static i64 depthwise_grad_scratch(const WeightGradCall<S>& call) {
  const i64 signals = dot_phases + (call.separate_shifts ? call.shift_block : 1);
  return signals * call.window + call.product.rows.phases * call.shift_block;
}

// The work of one unit, and where its scratch memory lies. A unit has one channel in and one out.
template <class S>
struct DepthwiseGradWork {
  typedef Sum<S> T;
  static constexpr i64 lanes = Vec<S>::lanes;

  const WeightGradCall<S>& call;
  const GradUnit<S>& unit;
  const i64 phases;
  const i64 back;          // each shift's frames lie so many before those of the shift before it
  const i64 packs, reach;  // packed rows; frames before the run that the shifts of one row reach
  T* const z;              // the sums: [phase][shift]
  T* const samples;        // of one run and up to dot_phases phases
  T* const copied;         // frames of one run

  DepthwiseGradWork(const WeightGradCall<S>& c, const GradUnit<S>& u, T* scratch)
      : call(c),
        unit(u),
        phases(c.product.rows.phases),
        back(-c.product.shift_frames),
        packs(c.separate_shifts ? u.shifts : 1),
        reach(c.separate_shifts ? 0 : (u.shifts - 1) * back),
        z(scratch),
        samples(z + phases * c.shift_block),
        copied(samples + dot_phases * c.window) {
    for (T* p = z; p < samples; ++p) *p = T(0);
  }

  // The frames of a run in whole vectors, earliest first: where they lie, or copied.
  const T* frames_of(const GradRun<S>& run) const {
    const Signal<const S>& x = call.input;
    const i64 first = run.first_frame - unit.first_shift * back - reach;
    if constexpr (!is_half<S>)
      if (packs == 1 && x.position_stride == 1 && first >= 0 &&
          first + reach + round_up(run.frames, lanes) <= x.length)
        return run.x + first;
    for (i64 j = 0; j < packs; ++j)
      copy_row<Widened<S>>(Row<S>{run.x, x.position_stride, nullptr, 0, 0}, x.length,
                           first - j * back, 1, run.frames + reach, call.window, call.extension,
                           copied + j * call.window);
    return copied;
  }

  void pack_samples(const GradRun<S>& run, i64 first_phase, i64 count) const {
    const Signal<const S>& gy = call.grad_output;
    const Positions& at = call.output_at;
    for (i64 p = 0; p < count; ++p)
      copy_row<Widened<S>>(
          Row<S>{run.gy, gy.position_stride, nullptr, 0, 0}, gy.length,
          run.first_frame * at.frame +
              (call.product.rows.first_phase + first_phase + p) * at.phase_step + at.base,
          at.frame, run.frames, round_up(run.frames, lanes), zeros, samples + p * call.window);
  }

  bool finite_samples(i64 count, i64 whole) const {
    for (i64 p = 0; p < count; ++p)
      if (!all_finite(samples + p * call.window, whole)) return false;
    return true;
  }

  void add_run(const GradRun<S>& run) const {
    const i64 whole = round_up(run.frames, lanes);
    const T* frames = frames_of(run);
    // A last vector that is not full multiplies frames by zeros, which is harmless where all are
    // finite.
    const bool all_multiplied = inside(call, run) && whole == run.frames;
    const bool finite_frames =
        all_multiplied ||
        all_finite(frames, frames == copied ? packs * call.window : reach + whole);
    const Range reaching = shifts_of_run(call, run);
    for (i64 phase = 0; phase < phases; phase += dot_phases) {
      const i64 count = smaller(dot_phases, phases - phase);
      pack_samples(run, phase, count);
      if (finite_frames && (all_multiplied || finite_samples(count, whole)))
        add_products(phase, count, reaching, frames + reach, whole);
      else
        add_present(run, phase, count, reaching, frames + reach);
    }
  }

  // Adds the products of `count` phases from `phase` on with these shifts, as many shifts at once
  // as registers hold.
  void add_products(i64 phase, i64 count, const Range& shifts, const T* of_shift_0,
                    i64 whole) const {
    const i64 shift = shift_step(), at_once = dot_shifts(static_cast<int>(count));
    T* sums = z + phase * call.shift_block;
    for (i64 j = shifts.first; j < shifts.last; j += at_once)
      dot_table<T>.by_size[count - 1][smaller(at_once, shifts.last - j) - 1](
          samples, call.window, of_shift_0 + j * shift, shift, whole, sums + j, call.shift_block);
  }

  void add_present(const GradRun<S>& run, i64 phase, i64 count, const Range& shifts,
                   const T* of_shift_0) const {
    for (i64 j = shifts.first; j < shifts.last; ++j)
      for (i64 p = 0; p < count; ++p)
        z[(phase + p) * call.shift_block + j] +=
            dot_present(call, run, phase + p, unit.first_shift + j, samples + p * call.window,
                        of_shift_0 + j * shift_step());
  }

  // Elements from the frames of one shift to those of the next.
  i64 shift_step() const { return call.separate_shifts ? call.window : -back; }

  void store_taps() const {
    S* taps = call.grad_weight + unit.group * call.kernel + call.product.rows.first_phase;
    for (i64 phase = 0; phase < phases; ++phase)
      for (i64 j = 0; j < unit.shifts; ++j)
        taps[phase + (unit.first_shift + j) * call.product.weight_shift] =
            narrow<S>(z[phase * call.shift_block + j]);
  }
};

template <class S>
static void depthwise_grad_unit(const WeightGradCall<S>& call, const GradUnit<S>& unit,
                                Sum<S>* scratch) {
  const DepthwiseGradWork<S> work(call, unit, scratch);
  const Range onto = runs_onto(call, unit.first_shift, unit.shifts);
  for (i64 entry = 0; entry < call.batch; ++entry)
    for (i64 index = onto.first; index < onto.last; ++index)
      work.add_run(grad_run(call, unit, entry, index));
  work.store_taps();
}

template <class S>
static i64 grad_scratch(const WeightGradCall<S>& call) {
  return call.depthwise ? depthwise_grad_scratch(call) : weight_grad_scratch(call);
}

template <class S>
static void grad_units(const WeightGradCall<S>& call, i64 first, i64 last, Sum<S>* scratch) {
  for (i64 unit = first; unit < last; ++unit) {
    const GradUnit<S> u = grad_unit(call, unit);
    if (call.depthwise) {
      depthwise_grad_unit(call, u, scratch);
      continue;
    }
    if constexpr (multiplies_pairs && __is_same(S, bfloat16))
      if (call.pairs) {
        weight_grad_unit<S, Pair>(call, u, scratch);
        continue;
      }
    weight_grad_unit<S, Sum<S>>(call, u, scratch);
  }
}
