// Weights into panels: packed[panel][(segment, u, j)][row in panel]. Included inside the namespace
// of one instruction set.
//
// Panels are packed as a whole or, by a unit that reads its panel once, run by run: a run of the
// sum is then multiplied while it is in the first-level cache.

// The terms of a panel that are packed: channels of the product's first segment, and some of their
// shifts. The others are left as they are.
struct Terms {
  i64 first, channels;
  Range shifts;
};

static inline Terms all_terms(const Product& p) {
  const Segment& segment = p.segments[0];
  return {0, segment.axis.channels * segment.axis.phases, {0, segment.shifts}};
}

// Whether a run of a panel can be packed by itself: its terms are neighbours in memory.
static inline bool packs_runs(const Product& p) {
  const Segment& segment = p.segments[0];
  const Runs runs(segment);
  return !p.pairs && p.segments[1].axis.channels == 0 && runs.shifts == segment.shifts &&
         runs.channels < runs.all_channels &&
         (!p.transposed || runs.channels % segment.axis.phases == 0);
}

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
// Of `channels` channels, with all their shifts.
template <class S>
static void transpose_panel(const Product& p, const S* weight, i64 rows, i64 channels,
                            Sum<S>* out) {
  typedef typename Vec<S>::type V;
  constexpr i64 lanes = Vec<S>::lanes;
  const i64 terms = channels * p.weight_channel;  // (channel, tap) of one row, contiguous
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
static void unzip_panel(const Product& p, const S* weight, i64 rows, i64 channels, Sum<S>* out) {
  constexpr i64 lanes = Vec<S>::lanes;
  if constexpr (2 * phases <= lanes)
    for (i64 u = 0; u < channels; ++u, out += 2 * p.step_stride)
      for (i64 r = 0; r < rows; r += lanes) {
        const S* from = weight + u * p.weight_channel + 2 * r;
        const auto low = load(from), high = load(from + lanes);
        __builtin_prefetch(from + 16 * p.weight_channel);
        __builtin_prefetch(from + 16 * p.weight_channel + lanes);
        store(out + r, shuffle<Unzip<false, phases>>(low, high));
        store(out + p.step_stride + r, shuffle<Unzip<true, phases>>(low, high));
      }
}

// Whole vectors of the rows of a panel of T with one phase: output channels, whose taps lie `by`
// elements apart. Up to by - 1 elements behind the last tap are read.
template <class S, int by>
static void pack_rows_apart(const Product& p, const S* weight, i64 whole, const Loop& channels,
                            const Loop& shifts, Sum<S>* out) {
  constexpr i64 lanes = Vec<S>::lanes;
  for (i64 u = 0; u < channels.count; ++u) {
    const S* from = weight + u * channels.from;
    Sum<S>* to = out + u * channels.to;
    for (i64 r = 0; r < whole * by; r += lanes)
      __builtin_prefetch(from + 16 * p.weight_channel + r);
    for (i64 j = 0; j < shifts.count; ++j)
      for (i64 r = 0; r < whole; r += lanes)
        store(to + j * shifts.to + r, load_strided<S, by>(from + j * shifts.from + r * by));
  }
}

// Copies rows [first, last) of a panel of T, as pieces of neighbouring phases.
template <class S>
static void copy_rows(const Product& p, const S* weight, i64 first_row, i64 first, i64 last,
                      const Loop& channels, const Loop& shifts, Sum<S>* out) {
  const Axis& axis = p.rows;
  // Whole channels in the middle; of the first and of the last one maybe a part.
  for (i64 row = first; row < last;) {
    const i64 channel = (first_row + row) / axis.phases, phase = (first_row + row) % axis.phases;
    const i64 length = smaller(axis.phases - phase, last - row);
    const i64 count = length == axis.phases ? (last - row) / length : 1;
    copy_pieces(length, weight + channel * p.weight_row + axis.first_phase + phase, out + row,
                {channels, shifts, {count, p.weight_row, length}, 16 * p.weight_channel});
    row += count * length;
  }
}

// Rows of a panel of T for these loops over input channels and shifts. `more`: whether the weights
// of another input channel follow.
template <class S>
static void gather_rows(const Product& p, const S* weight, i64 first_row, i64 rows, bool more,
                        const Loop& channels, const Loop& shifts, Sum<S>* out) {
  constexpr i64 lanes = Vec<S>::lanes;
  i64 whole = p.rows.phases == 1 ? rows / lanes * lanes : 0;
  const Loop inner{channels.count - (more ? 0 : 1), channels.from, channels.to};
  const S* from = weight + first_row * p.weight_row + p.rows.first_phase;
  const auto pack = [&](auto by) {
    pack_rows_apart<S, decltype(by)::value>(p, from, whole, inner, shifts, out);
  };
  if (whole && !with_stride(p.weight_row, pack)) whole = 0;
  if (whole && !more)
    copy_rows(p, weight + inner.count * inner.from, first_row, 0, whole, {1, 0, 0}, shifts,
              out + inner.count * inner.to);
  copy_rows(p, weight, first_row, whole, rows, channels, shifts, out);
}

// A panel of T: rows are output channels and phases, and neighbouring phases are neighbouring taps.
template <class S>
static void gather_panel(const Product& p, const S* weight, i64 first_row, i64 rows,
                         const Terms& terms, Sum<S>* out) {
  const Axis& axis = p.rows;
  const Segment& segment = p.segments[0];
  constexpr i64 lanes = Vec<S>::lanes;
  const i64 count = terms.channels * segment.shifts;
  for (i64 term = 0; rows < p.step_stride && term < count; ++term)
    for (i64 r = rows; r < p.step_stride; ++r) out[term * p.step_stride + r] = 0;
  weight += terms.first * p.weight_channel;
  if (segment.shifts == 2 && terms.shifts.first == 0 && terms.shifts.last == 2 &&
      2 * axis.phases == p.weight_row && p.weight_shift == axis.phases &&
      2 * axis.phases <= lanes && rows % lanes == 0) {
    const S* from = weight + first_row * 2;
    switch (axis.phases) {
      case 1: return unzip_panel<S, 1>(p, from, rows, terms.channels, out);
      case 2: return unzip_panel<S, 2>(p, from, rows, terms.channels, out);
      case 4: return unzip_panel<S, 4>(p, from, rows, terms.channels, out);
      case 8: return unzip_panel<S, 8>(p, from, rows, terms.channels, out);
    }
  }
  const bool more = terms.first + terms.channels < segment.axis.channels;
  const i64 j = terms.shifts.first;
  gather_rows(p, weight + j * p.weight_shift, first_row, rows, more,
              {terms.channels, p.weight_channel, segment.shifts * p.step_stride},
              {terms.shifts.last - j, p.weight_shift, p.step_stride}, out + j * p.step_stride);
}

// Terms of one panel of one group: packed[(segment, u, j)][row in panel], from the first channel of
// the terms on. The rows that fill up the last panel are zero and never stored.
template <class S>
static void pack_panel(const Product& p, const S* weight, i64 panel, const Terms& terms,
                       Sum<S>* out) {
  constexpr i64 width = panel_vectors * Vec<S>::lanes;
  const i64 first_row = panel * width;
  const i64 rows = smaller(width, p.rows.channels * p.rows.phases - first_row);
  if (!p.transposed) return gather_panel(p, weight, first_row, rows, terms, out);
  const i64 phases = p.segments[0].axis.phases;
  transpose_panel(p, weight + first_row * p.weight_row + terms.first / phases * p.weight_channel,
                  rows, terms.channels / phases, out);
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
      pack_panel(p, weight, panel, all_terms(p), scratch);
      pair_up(p, scratch, reinterpret_cast<Pair*>(out));
      return !asked || all_finite(scratch, pack_scratch(p));
    }
  pack_panel(p, weight, panel, all_terms(p), out);
  return !asked || all_finite(out, p.panel_stride);
}

template <class S>
static bool pack_panels(const Product& p, const S* weight, Sum<S>* packed, i64 first, i64 last,
                        Sum<S>* scratch) {
  bool finite = true;
  for (i64 panel = first; panel < last; ++panel) {
    Sum<S>* out = packed + p.packed_offset + panel * p.panel_stride;
    finite = pack_words(p, weight, panel, out, scratch, finite) && finite;
  }
  return finite;
}
