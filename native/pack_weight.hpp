// Weights into panels: packed[panel][(segment, u, j)][row in panel]. Included inside the namespace
// of one instruction set.

// The steps of a panel of C in the weight's order, (channel, tap): next() is the step of one tap
// after the other. Neighbouring taps are of neighbouring phases; their steps are `by` apart for the
// next `left` taps, whose phases have the same number of taps.
struct Steps {
  const Product& product;
  i64 channel = 0, phase = 0, j = 0, tap = 0, step = 0, by = 0, left = 0;

  explicit Steps(const Product& p) : product(p) { begin(); }

  i64 next() {
    const i64 here = step;
    step += by;
    ++tap;
    ++phase;
    if (--left == 0) begin();
    return here;
  }

 private:
  void begin() {
    if (phase == product.weight_shift) {
      phase = 0;
      ++j;
    }
    if (tap == product.weight_channel) {
      tap = phase = j = 0;
      ++channel;
    }
    const Segment& most = product.segments[0];
    const Segment& fewer = product.segments[1];
    const i64 rest = product.weight_channel - tap;
    if (phase < most.axis.phases) {
      by = most.shifts;
      step = (channel * most.axis.phases + phase) * by + (product.falling ? by - 1 - j : j);
      left = smaller(most.axis.phases - phase, rest);
    } else {
      by = fewer.shifts;
      step = most.axis.channels * most.axis.phases * most.shifts +
             (channel * fewer.axis.phases + phase - most.axis.phases) * by + j;
      left = smaller(product.weight_shift - phase, rest);
    }
  }
};

// A panel of C is the weight transposed: a vector of rows at a time, whose taps are read in order.
template <class S>
static void transpose_panel(const Product& p, const S* weight, i64 rows, Sum<S>* out) {
  typedef typename Vec<S>::type V;
  constexpr i64 lanes = Vec<S>::lanes;
  const i64 terms = p.weight_row;  // (channel, tap) of one row, contiguous
  for (i64 row = 0; row < p.step_stride; row += lanes) {
    const i64 filled = smaller(lanes, rows - row);
    Steps steps(p);
    i64 q = 0;
    if (filled == lanes)
      for (; q + lanes <= terms; q += lanes) {
        V r[lanes];
#pragma GCC unroll 16
        for (i64 i = 0; i < lanes; ++i) r[i] = load(weight + (row + i) * p.weight_row + q);
        transpose<Sum<S>>(r);
#pragma GCC unroll 16
        for (i64 i = 0; i < lanes; ++i) store(out + steps.next() * p.step_stride + row, r[i]);
      }
    for (; q < terms; ++q) {
      Sum<S>* to = out + steps.next() * p.step_stride + row;
      for (i64 i = 0; i < lanes; ++i)
        to[i] = i < filled ? widen(weight[(row + i) * p.weight_row + q]) : 0;
    }
  }
}

// A panel of T whose phases have two taps each and are all of the kernel: in memory, the first taps
// of the phases of a channel are followed by their second taps.
template <class S, int phases>
static void unzip_panel(const Product& p, const S* weight, i64 rows, Sum<S>* out) {
  constexpr i64 lanes = Vec<S>::lanes;
  if constexpr (2 * phases <= lanes)
    for (i64 u = 0; u < p.segments[0].axis.channels; ++u, out += 2 * p.step_stride)
      for (i64 r = 0; r < rows; r += lanes) {
        const S* from = weight + u * p.weight_channel + 2 * r;
        const auto low = load(from), high = load(from + lanes);
        __builtin_prefetch(from + 16 * p.weight_channel);
        __builtin_prefetch(from + 16 * p.weight_channel + lanes);
        store(out + r, shuffle<Unzip<false, phases>>(low, high));
        store(out + p.step_stride + r, shuffle<Unzip<true, phases>>(low, high));
      }
}

// A panel of T: rows are output channels and phases, and neighbouring phases are neighbouring taps.
template <class S>
static void gather_panel(const Product& p, const S* weight, i64 first_row, i64 rows, Sum<S>* out) {
  const Axis& axis = p.rows;
  const Segment& segment = p.segments[0];
  constexpr i64 lanes = Vec<S>::lanes;
  const i64 terms = segment.axis.channels * segment.axis.phases * segment.shifts;
  for (i64 term = 0; rows < p.step_stride && term < terms; ++term)
    for (i64 r = rows; r < p.step_stride; ++r) out[term * p.step_stride + r] = 0;
  if (segment.shifts == 2 && 2 * axis.phases == p.weight_row && p.weight_shift == axis.phases &&
      2 * axis.phases <= lanes && rows % lanes == 0) {
    const S* from = weight + first_row * 2;
    switch (axis.phases) {
      case 1: return unzip_panel<S, 1>(p, from, rows, out);
      case 2: return unzip_panel<S, 2>(p, from, rows, out);
      case 4: return unzip_panel<S, 4>(p, from, rows, out);
      case 8: return unzip_panel<S, 8>(p, from, rows, out);
    }
  }
  const Loop channels{segment.axis.channels, p.weight_channel, segment.shifts * p.step_stride};
  const Loop shifts{segment.shifts, p.weight_shift, p.step_stride};
  // Whole channels in the middle; of the first and of the last one maybe a part.
  i64 row = 0;
  while (row < rows) {
    const i64 channel = (first_row + row) / axis.phases, phase = (first_row + row) % axis.phases;
    const i64 length = smaller(axis.phases - phase, rows - row);
    const i64 count = length == axis.phases ? (rows - row) / length : 1;
    copy_pieces(length, weight + channel * p.weight_row + axis.first_phase + phase, out + row,
                {channels, shifts, {count, p.weight_row, length}, 16 * p.weight_channel});
    row += count * length;
  }
}

// One panel of one group: packed[(segment, u, j)][row in panel]. The rows that fill up the last
// panel are zero and never stored.
template <class S>
static void pack_panel(const Product& p, const S* weight, i64 panel, Sum<S>* out) {
  constexpr i64 width = panel_vectors * Vec<S>::lanes;
  const i64 first = panel * width;
  const i64 rows = smaller(width, p.rows.channels * p.rows.phases - first);
  if (p.transposed)
    transpose_panel(p, weight + first * p.weight_row, rows, out);
  else
    gather_panel(p, weight, first, rows, out);
}

// A panel of pairs of neighbouring u, from a panel in which each u has a word of its own.
static void pair_up(const Product& p, const float* single, Pair* out) {
  constexpr i64 lanes = Vec<Pair>::lanes;
  for (const Segment& segment : p.segments) {
    const i64 channels = segment.axis.channels * segment.axis.phases;
    const i64 size = segment.shifts * p.step_stride;  // of all j of one u: whole vectors
    for (i64 u = 0; u < channels; u += 2, out += size)
      for (i64 i = 0; i < size; i += lanes) {
        const Bits first = FirstHalves::put(Bits{}, load(single + u * size + i));
        store(out + i, u + 1 < channels
                           ? SecondHalves::put(first, load(single + (u + 1) * size + i))
                           : first);
      }
    single += channels * size;
  }
}

// Elements of a panel of single terms, which is packed before it is put into pairs.
static i64 pack_scratch(const Product& p) {
  if (!p.pairs) return 0;
  i64 terms = 0;
  for (const Segment& s : p.segments) terms += s.axis.channels * s.axis.phases * s.shifts;
  return terms * p.step_stride;
}

// One panel in words; `scratch` holds its single terms before they are put into pairs. Where
// `asked`, returns whether all weights of the panel are finite, else true.
template <class S>
static bool pack_words(const Product& p, const S* weight, i64 panel, Sum<S>* out, Sum<S>* scratch,
                       bool asked = false) {
  if constexpr (__is_same(S, bfloat16))
    if (p.pairs) {
      pack_panel(p, weight, panel, scratch);
      pair_up(p, scratch, reinterpret_cast<Pair*>(out));
      return !asked || all_finite(scratch, pack_scratch(p));
    }
  pack_panel(p, weight, panel, out);
  return !asked || all_finite(out, p.panel_stride);
}

template <class S>
static void pack_panels(const Product& p, const S* weight, Sum<S>* packed, i64 first, i64 last,
                        Sum<S>* scratch) {
  for (i64 panel = first; panel < last; ++panel)
    pack_words(p, weight, panel, packed + p.packed_offset + panel * p.panel_stride, scratch);
}
