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
  alignas(64) S halves[is_half<S> ? most_room : 1];
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

template <class T>
static inline void copy_row_of(const T* from, T* to, i64 count) {
  if (count <= few)
    copy_few(from, to, count);
  else
    __builtin_memcpy(to, from, static_cast<size_t>(count) * sizeof(T));
}

template <class T>
static inline void repeat_along(T value, T* to, i64 count) {
  i64 i = 0;
  if constexpr (!is_half<T>)
    for (; i + Vec<T>::lanes <= count; i += Vec<T>::lanes)
      store(to + i, value - typename Vec<T>::type{});
  for (; i < count; ++i) to[i] = value;
}

// The numbers of a piece side by side.
template <class T>
static void gather(const Strided<const T>& array, const Piece& piece, T* to) {
  const T* from = address(array, piece);
  const i64 step = array.strides[2], count = piece.count;
  if (is_dense(array, piece)) return copy_row_of(from, to, piece.rows * count);
  for (i64 row = 0; row < piece.rows; ++row, to += count) {
    const T* p = from + row * array.strides[1];
    if (step == 1)
      copy_row_of(p, to, count);
    else if (step == 0)
      repeat_along(*p, to, count);
    else
      for (i64 i = 0; i < count; ++i) to[i] = p[i * step];
  }
}

template <class T>
static void scatter(const T* from, const Strided<T>& array, const Piece& piece) {
  T* to = address(array, piece);
  const i64 step = array.strides[2], count = piece.count;
  if (is_dense(array, piece)) return copy_row_of(from, to, piece.rows * count);
  for (i64 row = 0; row < piece.rows; ++row, from += count) {
    T* p = to + row * array.strides[1];
    if (step == 1)
      copy_row_of(from, p, count);
    else
      for (i64 i = 0; i < count; ++i) p[i * step] = from[i];
  }
}

// The numbers of a piece widened, in whole vectors.
template <class S>
static inline void read_piece(const Strided<const S>& array, const Piece& piece, S* halves,
                              Sum<S>* to) {
  constexpr i64 lanes = Vec<S>::lanes;
  const i64 total = piece.rows * piece.count, last = (total - 1) / lanes * lanes;
  if constexpr (is_half<S>) {
    store_nearest(halves + last, typename Vec<S>::type{});
    i64 i = 0;
    if (is_dense(array, piece)) {  // read where it is, but for the last vector
      const S* from = address(array, piece);
      for (; i < last; i += lanes) store(to + i, load(from + i));
      copy_row_of(from + last, halves + last, total - last);
    } else {
      gather(array, piece, halves);
    }
    for (; i < total; i += lanes) store(to + i, load(halves + i));
  } else {
    store(to + last, typename Vec<S>::type{});
    gather(array, piece, to);
  }
}

template <class S>
static inline void write_piece(const Sum<S>* from, const Strided<S>& array, const Piece& piece,
                               S* halves) {
  constexpr i64 lanes = Vec<S>::lanes;
  if constexpr (is_half<S>) {
    const i64 total = piece.rows * piece.count, last = (total - 1) / lanes * lanes;
    if (is_dense(array, piece)) {
      S* to = address(array, piece);
      for (i64 i = 0; i < last; i += lanes) store_nearest(to + i, load(from + i));
      store_nearest(halves, load(from + last));
      return copy_row_of(halves, to + last, total - last);
    }
    for (i64 i = 0; i < total; i += lanes) store_nearest(halves + i, load(from + i));
    scatter(halves, array, piece);
  } else {
    scatter(from, array, piece);
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
    if constexpr (__is_same(T, S))
      read_piece<S>(array, piece, memory_.halves, buffer);
    else
      read_piece<T>(array, piece, nullptr, buffer);
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
    if (!direct) write_piece<S>(out, call_.out, piece, memory_.halves);
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
