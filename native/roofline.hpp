// What the machine can do at best, for benchmarks to compare with. Included inside the namespace of
// one instruction set.

// Independent multiply-adds on registers alone, `rounds` times as many as are returned; `value`
// keeps the compiler from knowing the results.
template <class T>
static i64 multiply_adds(i64 rounds, T& value) {
  typedef typename Vec<T>::type V;
  constexpr int chains = 12;  // more than any latency needs, fewer than any machine's registers
  const V x = value - V{}, y = x * T(0.5);
  V sums[chains];
#pragma GCC unroll 12
  for (int c = 0; c < chains; ++c) sums[c] = x * T(c);  // all different, or they would be merged
  for (i64 i = 0; i < rounds; ++i)
#pragma GCC unroll 12
    for (int c = 0; c < chains; ++c) sums[c] = sums[c] * x + y;
  V all = {};
#pragma GCC unroll 12
  for (int c = 0; c < chains; ++c) all += sums[c];
  for (int lane = 0; lane < Vec<T>::lanes; ++lane) value += all[lane];
  return chains * Vec<T>::lanes;
}
