// The gradient of the bias: the sum of each channel over batch and time. Included inside the
// namespace of one instruction set.
//
// Sample n of a run is added to lane n mod (2 * lanes), whatever the stride in memory; the lanes
// are added up at the end of a run, the runs one after another.

template <class S>
static Sum<S> sum_of_run(const S* p, i64 step, i64 count) {
  typedef Sum<S> T;
  typedef typename Vec<S>::type V;
  constexpr i64 lanes = Vec<S>::lanes, both = 2 * lanes;
  T sums[both] = {};
  i64 n = 0;
  if (step == 1) {
    V low = {}, high = {};
    for (; n + both <= count; n += both) {
      low += load(p + n);
      high += load(p + n + lanes);
    }
    store(sums, low);
    store(sums + lanes, high);
  }
  for (; n < count; ++n) sums[n % both] += widen(p[n * step]);
  T sum = 0;
  for (i64 i = 0; i < lanes; ++i) sum += sums[i] + sums[i + lanes];
  return sum;
}

// Channels [first, last) of the signal.
template <class S>
static void bias_grad(const Signal<const S>& signal, i64 batch, S* sums, i64 first, i64 last) {
  for (i64 c = first; c < last; ++c) {
    Sum<S> total = 0;
    for (i64 b = 0; b < batch; ++b) {
      const S* row = signal.data + b * signal.batch_stride + c * signal.channel_stride;
      for (i64 n = 0; n < signal.length; n += bias_run_steps)
        total += sum_of_run(row + n * signal.position_stride, signal.position_stride,
                            smaller(bias_run_steps, signal.length - n));
    }
    sums[c] = narrow<S>(total);
  }
}
