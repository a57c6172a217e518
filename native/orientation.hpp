// Which operand of a unit lies along the vector: frames, or rows of the weight. Both give the same
// bits. Included inside the namespace of one instruction set.

// Vectors of frames up to which all of them are broadcast: the weights are then read in their
// order, and each vector of them that is loaded serves more frames than a broadcast one does.
static constexpr i64 turned_vectors = 2;

// How many of a unit's frames lie along the vector, in whole vectors; the frames after these are
// broadcast: all of a few, those of a vector that would be alone in its tile, or the last ones if
// that costs less than a vector that is not full. (Not a vector that is not full where frames are
// read `in_place`: behind the last one may be no memory.)
template <class W>
static inline i64 frames_along(i64 frames, i64 rows, bool in_place) {
  constexpr int lanes = Vec<W>::lanes;
  const i64 row_vectors = (rows + lanes - 1) / lanes;
  // Whether the last `count` frames cost no more if they are broadcast.
  const auto turns = [&](i64 count) {
    return count * row_vectors <= (count + lanes - 1) / lanes * rows;
  };
  const i64 over = frames % (tile_vectors * lanes);
  const bool all_turn = frames <= turned_vectors * lanes;
  if (row_vectors == panel_vectors && (all_turn || over <= lanes) && turns(over))
    return frames - over;
  const i64 whole = frames / lanes * lanes;
  return turns(frames - whole) || in_place ? whole : round_up(frames, lanes);
}

// From sums of frames that were broadcast to rows of them, which are stored a vector at a time.
template <class T>
static void turn_sums(const Sums<T>& from, i64 rows, T* to, i64 to_row) {
  constexpr int lanes = Vec<T>::lanes;
  for (i64 f = 0; f < from.frames; f += lanes)
    for (i64 r = 0; r < rows; r += lanes) {
      typename Vec<T>::type block[lanes];
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) block[i] = load(from.z + (f + i) * from.frame_stride + r);
      interleave<T, lanes>(block);
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) store(to + (r + i) * to_row + f, block[i]);
    }
}
