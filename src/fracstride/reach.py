"""Which taps land where: the solutions of ``t*s + m*d == position`` in whole numbers.

Tap ``m`` of frame ``t`` lands on position ``t*s + m*d`` of the uncropped output, with stride ``s``
and dilation ``d``. Sample ``n`` is position ``n + p_l`` when ``p_l`` samples are cropped on the
left. A Conv1d is the same equation read the other way: its sample ``t`` takes its tap ``m`` of
position ``t*s + m*d`` of the padded input. Everything here is an int and trusted.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import gcd

__all__ = [
    "Intervals",
    "count_reaching",
    "frames_reaching",
    "merged",
    "positions_read",
    "taps_reaching",
]

#: Sorted disjoint intervals ``[start, stop)``.
Intervals = tuple[tuple[int, int], ...]


def taps_reaching(
    position: int,
    kernel_size: int,
    stride: int,
    dilation: int,
    within: tuple[int, int] | None = None,
) -> list[tuple[int, int]]:
    """All ``(frame, tap)`` that land on a position, by rising tap.

    Of all frames, or of those in ``[start, stop)`` if ``within`` gives such a range.

    >>> taps_reaching(4, kernel_size=3, stride=2, dilation=1)
    [(2, 0), (1, 2)]
    """
    turns, (latest, d), (first, s) = _turns(position, kernel_size, stride, dilation, within)
    return [(latest - j * d, first + j * s) for j in turns]


def count_reaching(
    position: int, kernel_size: int, stride: int, dilation: int, within: tuple[int, int]
) -> int:
    """How many taps of the frames in ``[start, stop)`` land on a position.

    >>> count_reaching(4, kernel_size=3, stride=2, dilation=1, within=(0, 2))
    1
    """
    return len(_turns(position, kernel_size, stride, dilation, within)[0])


def _turns(
    position: int, kernel_size: int, stride: int, dilation: int, within: tuple[int, int] | None
) -> tuple[range, tuple[int, int], tuple[int, int]]:
    """Numbers j, and the frame and tap that land on a position: ``latest - j*d``, ``first + j*s``.

    As ``(j, (latest, d), (first, s))``.
    """
    # If g = gcd(d, s) does not divide the position, no tap lands there; else every (s/g)-th does,
    # while the frame falls by d/g each time.
    g = gcd(dilation, stride)
    target, rest = divmod(position, g)
    if rest:
        return range(0), (0, 0), (0, 0)
    s, d = stride // g, dilation // g
    first = target * pow(d, -1, s) % s
    latest = (target - first * d) // s
    begin, end = 0, max(0, -((first - kernel_size) // s))
    if within is not None:  # start <= latest - j*d < stop
        start, stop = within
        begin, end = max(begin, -((stop - 1 - latest) // d)), min(end, (latest - start) // d + 1)
    return range(begin, end), (latest, d), (first, s)


@lru_cache(maxsize=256)
def frames_reaching(
    start: int,
    stop: int,
    kernel_size: int,
    stride: int,
    dilation: int,
    within: tuple[int, int] | None = None,
) -> Intervals:
    """The frames of which some tap lands on a position in ``[start, stop)``.

    As sorted disjoint intervals, each ``[first, after)``: of all frames, or of those in a range.

    >>> frames_reaching(0, 3, kernel_size=2, stride=2, dilation=6)
    ((-3, -1), (0, 2))
    """
    s, d, last = stride, dilation, kernel_size - 1

    def reach(early: int, late: int) -> tuple[int, int]:
        """The frames t with start - early*d <= t*s < stop - late*d."""
        return -((early * d - start) // s), (stop - late * d - 1) // s + 1

    if stop - start >= d:  # no gap between one tap's t*s and the next's: one interval
        intervals = [reach(last, 0)]
    else:
        intervals = []
        for m in range(last, -1, -1):  # both ends rise as m falls
            first, after = reach(m, m)
            if first >= after:
                continue
            if intervals and first <= intervals[-1][1]:
                first = intervals.pop()[0]
            intervals.append((first, after))
    if within is not None:
        intervals = [(max(first, within[0]), min(after, within[1])) for first, after in intervals]
    return tuple((first, after) for first, after in intervals if first < after)


@lru_cache(maxsize=256)
def positions_read(
    first: int,
    stop: int,
    kernel_size: int,
    stride: int,
    dilation: int,
    within: tuple[int, int],
) -> Intervals:
    """The positions ``t*s + m*d`` that some tap of a Conv1d's samples ``[first, stop)`` reads.

    As sorted disjoint intervals, of the positions in a range.

    >>> positions_read(0, 3, kernel_size=2, stride=5, dilation=2, within=(2, 99))
    ((2, 3), (5, 6), (7, 8), (10, 11), (12, 13))
    """
    k, s, d = kernel_size, stride, dilation
    start, end = within
    first = max(first, (start - d * (k - 1) - 1) // s + 1)  # the last tap is on start, or after it
    stop = min(stop, (end - 1) // s + 1)  # tap 0 is before end
    if first >= stop:
        return ()
    if s == 1:
        intervals = [(first + m * d, stop + m * d) for m in range(k)]
    elif d == 1 and k >= s:
        intervals = [(first * s, (stop - 1) * s + k)]
    elif d == 1:
        intervals = [(t * s, t * s + k) for t in range(first, stop)]
    else:
        positions = (t * s + m * d for t in range(first, stop) for m in range(k))
        intervals = [(at, at + 1) for at in positions]
    clipped = ((max(a, start), min(b, end)) for a, b in intervals)
    return merged((a, b) for a, b in clipped if a < b)


def merged(intervals: Iterable[tuple[int, int]]) -> Intervals:
    """Intervals in any order, as sorted disjoint ones.

    >>> merged([(5, 7), (0, 2), (2, 3), (6, 9)])
    ((0, 3), (5, 9))
    """
    found: list[tuple[int, int]] = []
    for start, stop in sorted(intervals):
        if found and start <= found[-1][1]:
            start, last = found.pop()
            stop = max(stop, last)
        found.append((start, stop))
    return tuple(found)
