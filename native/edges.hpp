// Frames outside the signal in the map C: their sums, and what they add to the frames that they
// copy. Included inside the namespace of one instruction set.

// Writes the sums, not rounded, to edges[row * count + frame].
template <class T>
static void write_edges(const Sums<T>& sums, i64 rows, T* edges, i64 count) {
  for (i64 r = 0; r < rows; ++r)
    for (i64 f = 0; f < sums.frames; ++f)
      edges[r * count + f] = sums.z[r * sums.row_stride + f * sums.frame_stride];
}

// The number of edges that copy a frame before this one.
template <class T>
static i64 copies_before(const Edges<T>& edges, i64 frame) {
  i64 low = 0, high = edges.count;
  while (low < high) {
    const i64 middle = low + (high - low) / 2;
    if (edges.copies[middle].frame < frame)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

// Adds to each frame's sums the sums of the frames that copy it, in rising order. Those of row r
// are values[r * edges.count + edge].
template <class T>
static void add_edges(const Sums<T>& sums, i64 rows, const T* values, const Edges<T>& edges) {
  const i64 first = copies_before(edges, sums.first_frame);
  const i64 last = copies_before(edges, sums.first_frame + sums.frames);
  for (i64 r = 0; r < rows; ++r) {
    T* row = sums.z + r * sums.row_stride;
    for (i64 i = first; i < last; ++i) {
      T& sum = row[(edges.copies[i].frame - sums.first_frame) * sums.frame_stride];
      sum = sum + values[r * edges.count + edges.copies[i].edge];
    }
  }
}
