"""Which rank needs which frames of a signal that is cut along time: integers in, integers out.

A signal of ``length`` over ``ranks`` is cut as ``torch.distributed.tensor.Shard`` cuts it: into
pieces of ``ceil(length/ranks)``, of which the last ones may be short, or empty. A rank that holds a
piece of a layer's input computes its own piece of the output. The frames that it lacks for that are
its *halo*::

    ranks               0           1           2
    frames        0 1 2 3 4 5|6 7 8 9 a b|c d e f g h
    samples                  |-----------|              kernel 3, padding 1: frames 5 to c
    halo of rank 1         5 |           | c            one frame from either side

The halo holds each frame that some tap puts on one of the rank's samples, and no other. Where a
padding mode copies a frame past an end of the input, the halo holds that frame itself, whichever
rank has it: with ``circular`` the ranks form a ring. All sizes and frames are asked of
:mod:`~fracstride.geometry` and :mod:`~fracstride.part_geometry`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from fracstride.extension import source_frame
from fracstride.geometry import Geometry
from fracstride.part_geometry import frames_of_part, geometry_of_part, samples_of_frames

__all__ = [
    "Halo",
    "Intervals",
    "Part",
    "Piece",
    "halo_of",
    "messages",
    "shard_bounds",
    "shard_size",
    "some_for_all",
]

#: Sorted disjoint intervals ``[start, stop)``.
Intervals = tuple[tuple[int, int], ...]
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
    that consists of ``pieces``. ``own`` says that all pieces are from the rank's own shard.
    """

    first: int
    samples: int
    geometry: Geometry
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


def messages(geometry: Geometry, L: int, ranks: int) -> dict[tuple[int, int], int]:
    """``{(sender, receiver): frames}`` of a forward call; a backward call sends them back.

    No frame goes to the same rank twice, and none that it could do without. One frame is
    ``B*C_in`` numbers.

    >>> messages(Geometry(16, stride=8, padding=4), L=100, ranks=2)
    {(1, 0): 1, (0, 1): 1}
    >>> messages(Geometry(4, stride=2, padding="causal"), L=100, ranks=2)
    {(0, 1): 1}
    >>> messages(Geometry(3, padding=1, padding_mode="circular"), L=9, ranks=3)
    {(1, 0): 1, (2, 0): 1, (0, 1): 1, (2, 1): 1, (0, 2): 1, (1, 2): 1}
    """
    return {
        (sender, receiver): frames
        for receiver in range(ranks)
        for sender, intervals in _frames_from_others(geometry, L, ranks, receiver).items()
        for frames in [_count(intervals)]
    }


@lru_cache(maxsize=4096)
def halo_of(geometry: Geometry, L: int, ranks: int, rank: int) -> Halo:
    """The halo of one rank, for an input of ``L`` frames in all."""
    first, stop = shard_bounds(geometry.output_length(L), ranks, rank)
    mine = shard_bounds(L, ranks, rank)
    sent = []
    for other in range(ranks):
        intervals = () if other == rank else _clip(_needed_frames(geometry, L, ranks, other), *mine)
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


def _part(geometry: Geometry, L: int, ranks: int, rank: int, first: int, stop: int) -> Part:
    """The samples ``[first, stop)`` of a rank."""
    begin, end = frames_of_part(geometry, L, first, stop - first)
    halo = _frames_from_others(geometry, L, ranks, rank)
    own_first, _ = shard_bounds(L, ranks, rank)
    size = shard_size(L, ranks)

    def place(t: int) -> tuple[int, int]:
        """The owner of a frame of the input, and where it is in the owner's shard or message."""
        owner = t // size
        return owner, (t - own_first if owner == rank else _position(halo[owner], t))

    pieces: list[Piece] = []
    at = begin
    for start, end_reached in geometry.frames_reached(L, stop, first):
        pieces += [Piece(None, 0, start - at)] if at < start else []
        pieces += _pieces_past_an_end(range(start, min(end_reached, 0)), geometry, L, place)
        pieces += _pieces_inside(max(start, 0), min(end_reached, L), size, place)
        pieces += _pieces_past_an_end(range(max(start, L), end_reached), geometry, L, place)
        at = end_reached
    pieces += [Piece(None, 0, end - at)] if at < end else []
    start, _ = shard_bounds(geometry.output_length(L), ranks, rank)
    return Part(
        first - start,
        stop - first,
        geometry_of_part(geometry, begin, end - begin, first, stop - first, "zeros"),
        tuple(pieces),
        all(piece.owner in (rank, None) for piece in pieces),
    )


def _frames_from_others(geometry: Geometry, L: int, ranks: int, rank: int) -> dict[int, Intervals]:
    """The frames that a rank needs from others, by owner."""
    needed, size = _needed_frames(geometry, L, ranks, rank), shard_size(L, ranks)
    owners = {owner for a, b in needed for owner in range(a // size, (b - 1) // size + 1)}
    return {
        owner: _clip(needed, *shard_bounds(L, ranks, owner)) for owner in sorted(owners - {rank})
    }


@lru_cache(maxsize=4096)
def _needed_frames(geometry: Geometry, L: int, ranks: int, rank: int) -> Intervals:
    """The frames of the input that a rank's samples are sums of, its own included."""
    first, stop = shard_bounds(geometry.output_length(L), ranks, rank)
    inside, copied = [], set()
    for a, b in geometry.frames_reached(L, stop, first) if first < stop else ():
        if max(a, 0) < min(b, L):
            inside.append((max(a, 0), min(b, L)))
        for t in (*range(a, min(b, 0)), *range(max(a, L), b)):
            copied.add(source_frame(t, L, geometry.padding_mode))
    return _merge([*inside, *((t, t + 1) for t in copied if t is not None)])


def _merge(intervals: Iterable[tuple[int, int]]) -> Intervals:
    """Intervals in any order, as sorted disjoint ones."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(intervals):
        if merged and start <= merged[-1][1]:
            start, last = merged.pop()
            stop = max(stop, last)
        merged.append((start, stop))
    return tuple(merged)


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
    frames: range, geometry: Geometry, L: int, place: _Place
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
