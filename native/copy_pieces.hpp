// Pieces of neighbouring numbers from one order into another: weights into panels, sums into taps.
// Included inside the namespace of one instruction set.
//
// Three nested loops over pieces of `length` numbers, each loop with its steps in elements. The
// line that lies `ahead` elements behind a piece is fetched. Half precision is widened where the
// target is not of the type that it is stored in.

// Copies a few numbers: by moves of sizes that are constants, where a call or a loop would take
// longer than the numbers.
template <class T>
static inline void copy_few(const T* from, T* to, i64 count) {
  const char* f = reinterpret_cast<const char*>(from);
  char* t = reinterpret_cast<char*>(to);
  i64 bytes = count * static_cast<i64>(sizeof(T));
  for (; bytes >= 64; bytes -= 64, f += 64, t += 64) __builtin_memcpy(t, f, 64);
  const auto move = [&](auto size) {
    if (!(bytes & size)) return;
    __builtin_memcpy(t, f, size);
    f += size;
    t += size;
  };
  move(Constant<32>{});
  move(Constant<16>{});
  move(Constant<8>{});
  move(Constant<4>{});
  if constexpr (sizeof(T) < 4) move(Constant<2>{});
}

struct Loop {
  i64 count, from, to;
};
struct Loops {
  Loop outer, middle, inner;
  i64 ahead = 0;
};

template <class From, class To, class Copy>
static inline void each_piece(const From* from, To* to, const Loops& loops, const Copy& copy) {
  const Loop &outer = loops.outer, &middle = loops.middle, &inner = loops.inner;
  for (i64 i = 0; i < outer.count; ++i)
    for (i64 j = 0; j < middle.count; ++j) {
      const From* f = from + i * outer.from + j * middle.from;
      To* t = to + i * outer.to + j * middle.to;
      // (Not by steps of f and t: one more than the last may lead out of all memory.)
      for (i64 p = 0; p < inner.count; ++p) {
        __builtin_prefetch(f + p * inner.from + loops.ahead);
        copy(f + p * inner.from, t + p * inner.to);
      }
    }
}

template <class From, class To>
static inline void copy_piece(const From* from, To* to, i64 length) {
  if constexpr (__is_same(From, To))
    __builtin_memcpy(to, from, static_cast<size_t>(length) * sizeof(To));
  else
    for (i64 i = 0; i < length; ++i) to[i] = widen(from[i]);
}

// With N constant a copy is a load and a store.
template <class From, class To, int N>
static void copy_pieces_of(const From* from, To* to, const Loops& loops) {
  each_piece(from, to, loops, [](const From* f, To* t) { copy_piece(f, t, N); });
}

template <class From, class To>
struct PieceTable {
  static constexpr int longest = 16;
  void (*by_length[longest])(const From*, To*, const Loops&);
};

template <class From, class To, int N>
static constexpr void fill_pieces(PieceTable<From, To>& table) {
  table.by_length[N - 1] = copy_pieces_of<From, To, N>;
  if constexpr (N > 1) fill_pieces<From, To, N - 1>(table);
}

template <class From, class To>
static constexpr PieceTable<From, To> make_pieces() {
  PieceTable<From, To> table{};
  fill_pieces<From, To, table.longest>(table);
  return table;
}

template <class From, class To>
static constexpr PieceTable<From, To> piece_table = make_pieces<From, To>();

template <class From, class To>
static inline void copy_pieces(i64 length, const From* from, To* to, const Loops& loops) {
  if (length <= PieceTable<From, To>::longest)
    piece_table<From, To>.by_length[length - 1](from, to, loops);
  else
    each_piece(from, to, loops, [length](const From* f, To* t) { copy_piece(f, t, length); });
}
