// The register tile: the one inner loop of the library. Included inside the namespace of one
// instruction set.
//
//     z[b][:] += sum over (u, j) of bcast[u, j][b] * vector[u, j][:]
//
// Which operand is which is the caller's choice. With frames along the vector and rows of the
// weight broadcast, long signals waste no lane whatever the number of rows; with rows along the
// vector and frames broadcast, a single frame costs no more than its share. Both add the same
// products in the same order, so they give the same bits.

#if FS_VECTOR_REGISTERS == 32
static constexpr int tile_rows = 8;     // 8 x 3 accumulators, 3 vectors, 1-2 broadcasts: 29 of 32
static constexpr int lane_frames = 12;  // 12 x 2 accumulators, 2 vectors, 1-2 broadcasts
#else
static constexpr int tile_rows = 4;    // 4 x 3 + 3 + 1 = 16
static constexpr int lane_frames = 6;  // 6 x 2 + 2 + 1 = 15
#endif
static constexpr int tile_vectors = 3;
// Tiles of one row or two have more vectors: each sum is a chain of additions that wait for each
// other, and a few chains alone would leave the machine idle.
static constexpr int most_vectors = 8;
static constexpr int vectors_for(int rows) {
  return rows == 1 ? most_vectors : rows == 2 ? most_vectors / 2 : tile_vectors;
}
static constexpr int panel_vectors = 2;

struct Strides {
  i64 vector_channel, vector_shift, bcast_channel, bcast_shift;
  i64 fetched = 0;  // words of the next run to a term, of Fetch::share
};

// What a tile fetches ahead: nothing; broadcast weights of its own run, which are in the
// second-level cache as a rule (this many terms are an access to it ahead); those of the next run,
// which are in memory as a rule, and of which each tile of rows fetches an equal share; or weights
// along the vector, which are in memory too: those that this tile reads next, or, where several
// tiles of frames read the same weights, a share of the next run. (Each of these tiles then waits
// for a part of the weights, and not the first one for all.) These go to the second-level cache,
// which has room for more requests at a time: 1.2 times as many bytes a second where they are in
// memory.
enum class Fetch { nothing, own_run, next_run, vectors, share };
static constexpr i64 terms_ahead = 16;
static constexpr i64 vectors_ahead =
    128;  // terms: their products take longer than an access to memory

// Words W may be pairs; the sums are then floats. `next` is where the next run, or this tile's
// share of it, begins.
template <class W, int NB, int NV, Fetch fetch>
static void tile(const W* vector, const W* bcast, const Strides& by, i64 channels, i64 shifts,
                 typename SumOf<W>::type* z, i64 z_stride, bool first, const W* next) {
  typedef typename Vec<typename SumOf<W>::type>::type V;
  constexpr int lanes = Vec<W>::lanes;
  V acc[NB][NV] = {};
  const i64 vector_back = by.vector_channel - shifts * by.vector_shift;
  const i64 bcast_back = by.bcast_channel - shifts * by.bcast_shift;
  for (i64 u = 0; u < channels; ++u) {
    for (i64 j = 0; j < shifts; ++j) {
      if constexpr (fetch == Fetch::own_run)
        __builtin_prefetch(bcast + terms_ahead * by.bcast_shift);
      if constexpr (fetch == Fetch::next_run) {
        __builtin_prefetch(next, 0, 2);
        next += NB;
      }
      if constexpr (fetch == Fetch::share) {
        __builtin_prefetch(next, 0, 2);
        next += by.fetched;
      }
      typename Vec<W>::type x[NV];
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) {
        if constexpr (fetch == Fetch::vectors)
          __builtin_prefetch(vector + vectors_ahead * by.vector_shift + v * lanes, 0, 2);
        x[v] = load(vector + v * lanes);
      }
#pragma GCC unroll 16
      for (int b = 0; b < NB; ++b) {
        const auto w = broadcast(bcast[b]);
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) acc[b][v] = multiply_add(w, x[v], acc[b][v]);
      }
      vector += by.vector_shift;
      bcast += by.bcast_shift;
    }
    vector += vector_back;
    bcast += bcast_back;
  }
  // Adding to +0 also in the first run turns a -0 (an underflowed product) into +0: a term that is
  // absent and a term that is zero then leave the same bits.
#pragma GCC unroll 16
  for (int b = 0; b < NB; ++b) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
      auto* p = z + b * z_stride + v * lanes;
      store(p, (first ? V{} : load(p)) + acc[b][v]);
    }
  }
}

// One frame against several runs at once, rows along the vector: one run alone has too few sums to
// hide the time of an addition. The runs are added in order, as one by one.
static constexpr int runs_at_once = 4;

template <class W, int NV, bool fetches>
static void tile_runs(const W* vector, const W* bcast, const Strides& by, i64 channels, i64 shifts,
                      typename SumOf<W>::type* z, bool first) {
  typedef typename Vec<typename SumOf<W>::type>::type V;
  constexpr int lanes = Vec<W>::lanes;
  V acc[runs_at_once][NV] = {};
  const i64 vector_run = channels * by.vector_channel, bcast_run = channels * by.bcast_channel;
  for (i64 u = 0; u < channels; ++u)
    for (i64 j = 0; j < shifts; ++j) {
      const W* x = vector + u * by.vector_channel + j * by.vector_shift;
      const W* b = bcast + u * by.bcast_channel + j * by.bcast_shift;
#pragma GCC unroll 4
      for (int r = 0; r < runs_at_once; ++r) {
        const auto w = broadcast(b[r * bcast_run]);
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) {
          const W* weights = x + r * vector_run + v * lanes;
          if constexpr (fetches)
            __builtin_prefetch(weights + vectors_ahead * by.vector_shift, 0, 2);
          acc[r][v] = multiply_add(w, load(weights), acc[r][v]);
        }
      }
    }
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) {
    V sum = first ? V{} : load(z + v * lanes);
#pragma GCC unroll 4
    for (int r = 0; r < runs_at_once; ++r) sum = sum + acc[r][v];
    store(z + v * lanes, sum);
  }
}

// How many of the `left` vectors of frames the next tile takes, so that no single one is left over.
static inline i64 vectors_of_tile(i64 left, i64 rows) {
  const i64 most = vectors_for(static_cast<int>(smaller(rows, tile_rows)));
  return left == most + 1 ? most - 1 : smaller(left, most);
}

// Products are added up in runs of about this many words, and the runs' sums one after another. The
// length depends on nothing but this constant and the layer, so that the order of every sum does.
// A run's weights and frames are read once per tile of rows: with few rows to a tile, they have to
// stay in the first-level cache.
static constexpr i64 run_steps = tile_rows == 8 ? 256 : 128;

// How the words of a segment are cut into runs: by channels (or pairs of them), and where one has
// more shifts than a run has words, by shifts too.
struct Runs {
  i64 all_channels, channels, shifts;

  explicit Runs(const Segment& segment)
      : all_channels(segment.words),
        channels(larger(1, run_steps / larger(segment.shifts, 1))),
        shifts(smaller(segment.shifts, run_steps)) {}
};

template <class W>
using TileFunction = void (*)(const W*, const W*, const Strides&, i64, i64,
                              typename SumOf<W>::type*, i64, bool, const W*);

// by_size[NB - 1][NV - 1]
template <class W>
struct TileTable {
  static constexpr int max_bcast = lane_frames > tile_rows ? lane_frames : tile_rows;
  TileFunction<W> by_size[max_bcast][most_vectors];
};

template <class W, Fetch fetch, int NB, int NV>
static constexpr void fill_tiles_of(TileTable<W>& table) {
  table.by_size[NB - 1][NV - 1] = tile<W, NB, NV, fetch>;
  if constexpr (NV > 1) fill_tiles_of<W, fetch, NB, NV - 1>(table);
}

template <class W, Fetch fetch, int NB>
static constexpr void fill_tiles(TileTable<W>& table) {
  constexpr int most = NB > tile_rows || fetch == Fetch::vectors || fetch == Fetch::share
                           ? panel_vectors
                           : vectors_for(fetch == Fetch::own_run ? NB : tile_rows);
  fill_tiles_of<W, fetch, NB, most>(table);
  if constexpr (NB > 1) fill_tiles<W, fetch, NB - 1>(table);
}

template <class W, Fetch fetch>
static constexpr TileTable<W> make_tiles() {
  TileTable<W> table{};
  fill_tiles<W, fetch, TileTable<W>::max_bcast>(table);
  return table;
}

// With the weights along the vector, and for R.
template <class W>
static constexpr TileTable<W> turned_tiles = make_tiles<W, Fetch::nothing>();
template <class W>
static constexpr TileTable<W> fetching_turned_tiles = make_tiles<W, Fetch::vectors>();
template <class W>
static constexpr TileTable<W> sharing_turned_tiles = make_tiles<W, Fetch::share>();

// With the weights broadcast.
template <class W>
static constexpr TileTable<W> tiles = make_tiles<W, Fetch::own_run>();

// The same for full tiles of rows, by vectors, with a fetch of the next run.
template <class W>
static constexpr TileFunction<W> fetching_tiles[tile_vectors] = {
    tile<W, tile_rows, 1, Fetch::next_run>, tile<W, tile_rows, 2, Fetch::next_run>,
    tile<W, tile_rows, 3, Fetch::next_run>};
