"""Which rank needs which frames of a signal that is cut along time: integers in, integers out.

A signal of ``length`` over ``ranks`` is cut as ``torch.distributed.tensor.Shard`` cuts it: into
pieces of ``ceil(length/ranks)``, of which the last ones may be short, or empty. A rank that holds a
piece of a layer's input computes its own piece of the output. The frames that it lacks for that are
its *halo*::

    ranks               0           1           2
    frames        0 1 2 3 4 5|6 7 8 9 a b|c d e f g h
    samples                  |-----------|              kernel 3, padding 1: frames 5 to c
    halo of rank 1         5 |           | c            one frame from either side

The halo holds each frame of which some tap is a term of one of the rank's samples, and no other.
Where a padding mode copies a frame past an end of the input, the halo holds that frame itself,
whichever rank has it: with ``circular`` the ranks form a ring. All sizes and frames are asked of
the geometry, of a transposed convolution or of a Conv1d, and of :mod:`~fracstride.part_geometry`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from fracstride.conv1d_geometry import AnyGeometry
from fracstride.extension import source_frame
from fracstride.part_geometry import (
    frames_needed,
    frames_of_part,
    geometry_of_part,
    samples_of_frames,
)
from fracstride.reach import Intervals, merged

__all__ = [
    "Halo",
    "Part",
    "Piece",
    "halo_of",
    "messages",
    "shard_bounds",
    "shard_size",
    "some_for_all",
]

_Place = Callable[[int], tuple[int, int]]  # the owner of a frame, and where the owner has it


def shard_size(length: int, ranks: int) -> int:
    """The size of every full piece that ``Shard`` makes."""
    return -(-length // ranks)


def shard_bounds(length: int, ranks: int, rank: int) -> tuple[int, int]:
    """The interval ``[start, stop)`` of a signal that ``Shard`` gives to one of the ranks.

    >>> [shard_bounds(10, 4, rank) for rank in range(4)]
    [(0, 3), (3, 6), (6, 9), (9, 10)]
    """
    size = shard_size(length, ranks)
    return min(rank * size, length), min((rank + 1) * size, length)


def some_for_all(count: int, ranks: int) -> bool:
    """Whether ``Shard`` gives each rank some of ``count``.

    >>> some_for_all(6, 4), some_for_all(7, 4)  # 2 + 2 + 2 + 0, 2 + 2 + 2 + 1
    (False, True)
    """
    first, stop = shard_bounds(count, ranks, ranks - 1)
    return first < stop


@dataclass(frozen=True)
class Piece:
    """Neighbouring frames of a rank's input, and where they come from.

    ``owner`` is a rank: this one, whose frames are counted from the start of its shard, or another,
    whose frames are counted in the message from it; None for frames that nothing reads. They are
    the ``count`` frames from ``start`` on, or, if there are ``indices``, those.
    """

    owner: int | None
    start: int
    count: int
    indices: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Part:
    """Neighbouring samples of a rank, and how they are computed.

    ``first`` counts from the rank's own first sample. ``geometry`` makes the samples of an input
    that consists of ``pieces`` (and perhaps one more, see :func:`geometry_of_part`). ``own`` says
    that all pieces are from the rank's own shard.
    """

    first: int
    samples: int
    geometry: AnyGeometry
    pieces: tuple[Piece, ...]
    own: bool


@dataclass(frozen=True)
class Halo:
    """What one rank computes, of which frames, and which frames it sends to others.

    ``whole`` is all of its samples, None if there are none. ``parts`` are the same samples, cut so
    that most need no frame of another rank. ``receives`` has for each message the sender and the
    number of frames; ``sends`` the receiver and the frames, counted from the start of this shard.
    """

    whole: Part | None
    parts: tuple[Part, ...]
    receives: tuple[tuple[int, int], ...]
    sends: tuple[tuple[int, Intervals], ...]


def messages(geometry: AnyGeometry, L: int, ranks: int) -> dict[tuple[int, int], int]:
    """``{(sender, receiver): frames}`` of a forward call; a backward call sends them back.

    No frame goes to the same rank twice, and none that it could do without. One frame is
    ``B*C_in`` numbers.

    >>> from fracstride import Conv1dGeometry, Geometry
    >>> messages(Geometry(16, stride=8, padding=4), L=100, ranks=2)
    {(1, 0): 1, (0, 1): 1}
    >>> messages(Geometry(4, stride=2, padding="causal"), L=100, ranks=2)
    {(0, 1): 1}
    >>> messages(Geometry(3, padding=1, padding_mode="circular"), L=9, ranks=3)
    {(1, 0): 1, (2, 0): 1, (0, 1): 1, (2, 1): 1, (0, 2): 1, (1, 2): 1}
    >>> messages(Conv1dGeometry(4, stride=2, padding=1), L=100, ranks=2)
    {(1, 0): 1, (0, 1): 1}
    """
    return {
        (sender, receiver): frames
        for receiver in range(ranks)
        for sender, intervals in _frames_from_others(geometry, L, ranks, receiver).items()
        for frames in [_count(intervals)]
    }


@lru_cache(maxsize=4096)
def halo_of(geometry: AnyGeometry, L: int, ranks: int, rank: int) -> Halo:
    """The halo of one rank, for an input of ``L`` frames in all."""
    first, stop = shard_bounds(geometry.output_length(L), ranks, rank)
    mine = shard_bounds(L, ranks, rank)
    sent = []
    for other in range(ranks):
        intervals = () if other == rank else _clip(_halo_frames(geometry, L, ranks, other), *mine)
        if intervals:
            sent.append((other, tuple((a - mine[0], b - mine[0]) for a, b in intervals)))
    halo = _frames_from_others(geometry, L, ranks, rank)
    counts = tuple((owner, _count(intervals)) for owner, intervals in halo.items())
    if first == stop:
        return Halo(None, (), counts, tuple(sent))

    def part(a: int, b: int) -> Part:
        return _part(geometry, L, ranks, rank, a, b)

    begin, end = samples_of_frames(geometry, *mine)
    if geometry.padding_mode == "zeros":  # no frame lies past an end
        begin = first if mine[0] == 0 else begin
        end = stop if mine[1] == L else end
    begin, end = max(begin, first), min(end, stop)
    if begin >= end:
        return Halo(part(first, stop), (part(first, stop),), counts, tuple(sent))
    edges = ((first, begin), (begin, end), (end, stop))
    parts = tuple(part(a, b) for a, b in edges if a < b)
    return Halo(part(first, stop), parts, counts, tuple(sent))


def _part(geometry: AnyGeometry, L: int, ranks: int, rank: int, first: int, stop: int) -> Part:
    """The samples ``[first, stop)`` of a rank."""
    begin, end = window = frames_of_part(geometry, L, first, stop - first)
    halo = _frames_from_others(geometry, L, ranks, rank)
    own_first, own_stop = shard_bounds(L, ranks, rank)
    size = shard_size(L, ranks)

    def place(t: int) -> tuple[int, int]:
        """The owner of a frame of the input, and where it is in the owner's shard or message."""
        owner = t // size
        return owner, (t - own_first if owner == rank else _position(halo[owner], t))

    pieces: list[Piece] = []
    at = begin
    own = _clip(((own_first, own_stop),), *window)  # those that nothing needs with the others
    before, after = _others(geometry, window, first, stop, (own_first, own_stop))
    for start, after_it in (*before, *own, *after):
        pieces += [Piece(None, 0, start - at)] if at < start else []
        pieces += _pieces_past_an_end(range(start, min(after_it, 0)), geometry, L, place)
        pieces += _pieces_inside(max(start, 0), min(after_it, L), size, place)
        pieces += _pieces_past_an_end(range(max(start, L), after_it), geometry, L, place)
        at = after_it
    pieces += [Piece(None, 0, end - at)] if at < end else []
    start, _ = shard_bounds(geometry.output_length(L), ranks, rank)
    return Part(
        first - start,
        stop - first,
        geometry_of_part(geometry, begin, end - begin, first, stop - first, "zeros"),
        tuple(pieces),
        all(piece.owner in (rank, None) for piece in pieces),
    )


def _others(
    geometry: AnyGeometry,
    window: tuple[int, int],
    first: int,
    stop: int,
    own: tuple[int, int],
) -> tuple[Intervals, Intervals]:
    """The frames in a window that samples need, before a rank's own frames and after them."""
    begin, end = window
    return (
        frames_needed(geometry, first, stop, (begin, min(own[0], end))),
        frames_needed(geometry, first, stop, (max(own[1], begin), end)),
    )


def _frames_from_others(
    geometry: AnyGeometry, L: int, ranks: int, rank: int
) -> dict[int, Intervals]:
    """The frames that a rank needs from others, by owner."""
    needed, size = _halo_frames(geometry, L, ranks, rank), shard_size(L, ranks)
    owners = {owner for a, b in needed for owner in range(a // size, (b - 1) // size + 1)}
    return {owner: _clip(needed, *shard_bounds(L, ranks, owner)) for owner in sorted(owners)}


@lru_cache(maxsize=4096)
def _halo_frames(geometry: AnyGeometry, L: int, ranks: int, rank: int) -> Intervals:
    """The frames of other ranks that a rank's samples are sums of."""
    first, stop = shard_bounds(geometry.output_length(L), ranks, rank)
    if first == stop:
        return ()
    own_first, own_stop = own = shard_bounds(L, ranks, rank)
    window = frames_of_part(geometry, L, first, stop - first)
    before, after = _others(geometry, window, first, stop, own)
    inside, copied = [], set()
    for a, b in (*before, *after):
        inside += [(max(a, 0), min(b, L))] if max(a, 0) < min(b, L) else []
        for t in (*range(a, min(b, 0)), *range(max(a, L), b)):
            copied.add(source_frame(t, L, geometry.padding_mode))
    copies = {t for t in copied if t is not None and not own_first <= t < own_stop}
    return merged([*inside, *((t, t + 1) for t in copies)])


def _clip(intervals: Intervals, start: int, stop: int) -> Intervals:
    """The parts of the intervals that lie in ``[start, stop)``."""
    cut = ((max(a, start), min(b, stop)) for a, b in intervals)
    return tuple((a, b) for a, b in cut if a < b)


def _count(intervals: Intervals) -> int:
    return sum(stop - start for start, stop in intervals)


def _position(intervals: Intervals, t: int) -> int:
    """The place of frame ``t`` among those in ``intervals``: how many of them come before it."""
    return sum(min(b, t) - a for a, b in intervals if a < t)


def _pieces_inside(start: int, stop: int, size: int, place: _Place) -> Iterator[Piece]:
    """Frames of the input itself, cut where the owner changes."""
    while start < stop:
        end = min(stop, (start // size + 1) * size)
        owner, at = place(start)
        yield Piece(owner, at, end - start)
        start = end


def _pieces_past_an_end(
    frames: range, geometry: AnyGeometry, L: int, place: _Place
) -> Iterator[Piece]:
    """Frames past an end of the input: copies, gathered one by one, cut where the owner changes."""
    indices: list[int] = []
    last = None
    for t in frames:
        source = source_frame(t, L, geometry.padding_mode)
        assert source is not None  # with zeros, nothing past the ends is reached
        owner, at = place(source)
        if indices and owner != last:
            yield Piece(last, 0, len(indices), tuple(indices))
            indices = []
        indices.append(at)
        last = owner
    if indices:
        yield Piece(last, 0, len(indices), tuple(indices))
