// Pointwise programs on arrays, block by block. Included inside the namespace of one instruction
// set.
//
// Numbers that lie side by side are read and written where they are. Others, halves, and a last
// vector that is not full go through a buffer.

static constexpr i64 most_vectors = most_channel_values + 2 * most_steps + most_registers;

// A thread's memory for a program: a vector for each place that is one number, and buffers.
template <class S>
struct Memory {
  static constexpr i64 lanes = Vec<S>::lanes;
  alignas(64) Sum<S> vectors[most_vectors * lanes];
  alignas(64) Sum<S> buffers[buffer_numbers<S>];
};

template <class S>
static inline Place<S> repeat(Sum<S> value, Sum<S>* vector) {
  store(vector, value - typename Vec<S>::type{});
  return {vector, 0};
}

// The steps of a program on one block: `places` is filled in but for the registers; the result goes
// to `out`. `count` is a multiple of a vector.
template <class S>
static inline void run_steps_on(const PointwiseProgram<S>& program, Place<S>* places,
                                Sum<S>* registers, i64 room, Sum<S>* out, i64 count) {
  const int sources = program.sources;
  for (int r = 0; r < program.registers; ++r) places[sources + r] = {registers + r * room, 1};
  for (int i = 0; i < program.count; ++i) {
    const PointwiseStep<S>& step = program.steps[i];
    Sum<S>* to = i + 1 < program.count ? registers + (step.target - sources) * room : out;
    step_functions<S>[static_cast<int>(step.operation)](step, program.libm, places, to, count);
  }
}

// Scalars, rounded as they would be stored, into places that no block changes.
template <class S>
static inline void place_scalars(const PointwiseProgram<S>& program, Place<S>* places,
                                 Sum<S>* vectors) {
  for (int i = 0; i < program.scalars; ++i)
    places[program.inputs + program.channel_values + i] = repeat<S>(
        stored<S>(program.scalar[i] - typename Vec<S>::type{})[0], vectors + i * Vec<S>::lanes);
}

template <class S>
static void apply_program(const PointwiseProgram<S>& program, i64 channel, Sum<S>* values,
                          i64 count) {
  constexpr i64 lanes = Vec<S>::lanes;
  Memory<S> memory;
  Place<S> places[most_places];
  place_scalars(program, places, memory.vectors);
  for (int i = 0; i < program.channel_values; ++i)
    places[1 + i] =
        repeat<S>(program.per_channel[i][channel], memory.vectors + (program.scalars + i) * lanes);
  const i64 room = buffer_room<S>(program.registers);
  for (i64 i = 0; i < count; i += room) {
    places[0] = {values + i, 1};
    run_steps_on(program, places, memory.buffers, room, values + i,
                 round_up(smaller(room, count - i), lanes));
  }
}

// Part of a call: `rows` rows of `count` numbers of the last axis, from `at` on. One row if the
// numbers are part of one.
struct Piece {
  i64 at[axes];
  i64 rows, count;
};

template <class T>
static inline T* address(const Strided<T>& array, const Piece& piece) {
  T* p = array.data;
  for (int axis = 0; axis < axes; ++axis) p += piece.at[axis] * array.strides[axis];
  return p;
}

// Whether the numbers of a piece lie side by side.
template <class T>
static inline bool is_dense(const Strided<T>& array, const Piece& piece) {
  return (array.strides[2] == 1 || piece.count == 1) &&
         (piece.rows == 1 || array.strides[1] == piece.count);
}

template <class T>
static inline bool is_one_number(const Strided<T>& array, const Piece& piece) {
  return (array.strides[2] == 0 || piece.count == 1) && (array.strides[1] == 0 || piece.rows == 1);
}

// The numbers of a piece side by side, widened.
template <class T, class W>
static void gather(const Strided<const T>& array, const Piece& piece, W* to) {
  const T* from = address(array, piece);
  const i64 step = array.strides[2];
  for (i64 row = 0; row < piece.rows; ++row, to += piece.count) {
    const T* p = from + row * array.strides[1];
    if (step == 0) {
      const W value = widen(*p);
      for (i64 i = 0; i < piece.count; ++i) to[i] = value;
    } else {
      copy_stretch<Widened<T>>(p, 1, step, piece.count, (piece.count - 1) * step + 1, to);
    }
  }
}

template <class S>
static void scatter(const Sum<S>* from, const Strided<S>& array, const Piece& piece) {
  S* to = address(array, piece);
  const i64 step = array.strides[2];
  for (i64 row = 0; row < piece.rows; ++row, from += piece.count) {
    S* p = to + row * array.strides[1];
    i64 i = 0;
    if (step == 1)
      for (; i + Vec<S>::lanes <= piece.count; i += Vec<S>::lanes)
        store_nearest(p + i, load(from + i));
    for (; i < piece.count; ++i) p[i * step] = nearest_of<S>(from[i]);
  }
}

// Runs the pieces of a call.
template <class S>
class PieceRun {
 public:
  PieceRun(const PointwiseCall<S>& call, Memory<S>& memory, Place<S>* places)
      : call_(call), program_(*call.program), memory_(memory), places_(places) {}

  void run(const Piece& piece) {
    const i64 total = piece.rows * piece.count, tail = total % Vec<S>::lanes;
    if (!is_half<S> && tail && piece.rows == 1 && total > tail) {
      Piece whole = piece, last = piece;
      whole.count = total - tail;
      last.at[2] += whole.count;
      last.count = tail;
      run_part(whole);
      run_part(last);
    } else {
      run_part(piece);
    }
  }

 private:
  // Places of an array's numbers: where they are, as one vector, or in the next buffer.
  template <class T>
  Place<S> place(const Strided<const T>& array, const Piece& piece, Sum<S>* vector) {
    if (is_one_number(array, piece)) return repeat<S>(widen(*address(array, piece)), vector);
    if constexpr (__is_same(T, Sum<S>))
      if (is_dense(array, piece) && piece.rows * piece.count % Vec<S>::lanes == 0)
        return {address(array, piece), 1};
    Sum<S>* buffer = memory_.buffers + room_ * used_++;
    const i64 total = piece.rows * piece.count;
    store(buffer + (total - 1) / Vec<S>::lanes * Vec<S>::lanes, typename Vec<S>::type{});
    gather(array, piece, buffer);
    return {buffer, 1};
  }

  void run_part(const Piece& piece) {
    constexpr i64 lanes = Vec<S>::lanes;
    const i64 total = round_up(piece.rows * piece.count, lanes);
    room_ = total <= lanes ? lanes : call_.room;
    used_ = program_.registers;
    Sum<S>* vectors = memory_.vectors + program_.scalars * lanes;
    int number = 0;
    for (int i = 0; i < program_.inputs; ++i, vectors += lanes)
      places_[number++] = place(call_.inputs[i], piece, vectors);
    for (int i = 0; i < program_.channel_values; ++i, vectors += lanes)
      places_[number++] = place(call_.per_channel[i], piece, vectors);
    bool direct = false;
    if constexpr (!is_half<S>)
      direct = is_dense(call_.out, piece) && piece.rows * piece.count == total;
    // The last step may write where it reads: numbers of one place meet.
    Sum<S>* out = memory_.buffers + room_ * used_;
    if constexpr (!is_half<S>)
      if (direct) out = address(call_.out, piece);
    run_steps_on(program_, places_, memory_.buffers, room_, out, total);
    if (!direct) scatter<S>(out, call_.out, piece);
  }

  const PointwiseCall<S>& call_;
  const PointwiseProgram<S>& program_;
  Memory<S>& memory_;
  Place<S>* places_;
  i64 room_ = 0;
  int used_ = 0;
};

template <class S>
static void run_pointwise(const PointwiseCall<S>& call, i64 first, i64 last) {
  Memory<S> memory;
  Place<S> places[most_places];
  place_scalars(*call.program, places, memory.vectors);
  PieceRun<S> run(call, memory, places);
  for (i64 unit = first; unit < last; ++unit) {
    const i64 along = unit % call.blocks[2], middle = unit / call.blocks[2] % call.blocks[1];
    const i64 at = along * call.block, row = middle * call.rows;
    run.run({{unit / call.blocks[2] / call.blocks[1], row, at},
             smaller(call.rows, call.size[1] - row),
             smaller(call.block, call.size[2] - at)});
  }
}
