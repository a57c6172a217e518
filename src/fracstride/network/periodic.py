"""Constants along time that repeat themselves but near the two ends, such as window envelopes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np

from fracstride.arrays import Array

__all__ = ["Periodic", "fit_periodic", "window_envelope"]

_ROUNDING = 64  # units of the last place by which recorded numbers may differ
_LONGEST = 1 << 16  # positions of a period that is looked for


@dataclass(frozen=True, eq=False)
class Periodic:
    """A number for each position ``n`` of a signal of any length ``L``.

    It is ``period[n % len(period)]``, plus ``start[n]`` near the beginning, plus
    ``end[n - L + len(end)]`` near the end. Where both ends meet, both are added: a sum over the
    frames of a signal lacks those before the first one and those behind the last one.

    Args:
        period: float64, at least one number.
        start: float64, added to the first positions.
        end: float64, added to the last positions.
    """

    period: Array
    start: Array
    end: Array

    @property
    def size(self) -> int:
        """How many numbers it takes to say it."""
        return len(self.period) + len(self.start) + len(self.end)

    def values(self, first: int, last: int, length: int | None = None) -> Array:
        """The numbers at positions ``first`` to ``last - 1``.

        ``length`` is that of the signal; None: it goes on, and no position is near its end.

        >>> ramp = Periodic(np.array([2.0]), np.array([-1.0]), np.array([-1.0]))
        >>> ramp.values(0, 3), ramp.values(0, 3, length=3), ramp.values(0, 1, length=1)
        (array([1., 2., 2.]), array([1., 2., 1.]), array([0.]))
        """
        values = self.period[np.arange(first, last) % len(self.period)]
        if first < len(self.start):
            part = self.start[first:last]
            values[: len(part)] += part
        if length is not None:
            begin = length - len(self.end)  # of the end; before 0 where the signal is shorter
            low, high = max(first, begin), min(last, length)
            if low < high:
                values[low - first : high - first] += self.end[low - begin : high - begin]
        return values


def window_envelope(window: Array, hop: int, left: int = 0, right: int = 0) -> Periodic:
    """The sum of copies of a window, ``hop`` positions apart, as many as a signal has frames.

    A signal of ``F`` frames has ``(F - 1)*hop + len(window)`` positions, less ``left`` at the
    beginning and ``right`` at the end.
    """
    window = np.asarray(window, np.float64)
    size = len(window)
    filled = np.zeros(-(-size // hop) * hop)
    filled[:size] = window
    period = np.roll(filled.reshape(-1, hop).sum(0), -left)
    # Frames before the first one, and frames behind the last one.
    start = [window[n + hop :: hop].sum() for n in range(left, size - hop)]
    end = [window[n::-hop].sum() for n in range(size - hop - right)]
    return Periodic(period, -np.array(start, np.float64), -np.array(end, np.float64))


def fit_periodic(arrays: Sequence[Array]) -> Periodic | None:
    """What has these numbers at each of several lengths, within rounding, or None.

    The arrays are floats, and all but one of their axes have one position.
    """
    rows: dict[int, Array] = {}
    for array in arrays:
        if array.dtype.kind != "f" or array.size not in (1, max(array.shape, default=0)):
            return None
        row = rows.setdefault(array.size, array.reshape(-1))
        if row is not array and not np.array_equal(row, array.reshape(-1)):
            return None  # it is not the length alone that decides
    longest = rows[max(rows)]
    steps = {len(longest) - length for length in rows} - {0}
    if not steps:
        return None
    # The same frames are mostly added in the same order, so their sums have the same bits. Where a
    # window's copies add up to a constant, it has other bits at each position of the hop.
    for rounding in (0, _ROUNDING):
        sizes = _divisors(gcd(*steps))
        made = (_with_period(longest, size, rounding) for size in sizes)
        found = [each for each in made if each is not None and each.size <= len(longest)]
        for each in sorted(found, key=lambda periodic: periodic.size):
            if all(_fits(each, row) for row in rows.values()):
                return each
    return None


def _divisors(number: int) -> Iterator[int]:
    return (size for size in range(1, min(number, _LONGEST) + 1) if number % size == 0)


def _tolerance(array: Array, rounding: int = _ROUNDING) -> Array:
    numbers = np.abs(array.astype(np.float64))
    tolerance: Array = rounding * np.finfo(array.dtype).eps * (numbers + np.median(numbers))
    return tolerance


def _with_period(array: Array, size: int, rounding: int) -> Periodic | None:
    """The array with its longest stretch of this period repeated, if it is two periods long."""
    if len(array) < 2 * size:
        return None
    numbers = array.astype(np.float64)
    same = np.abs(numbers[size:] - numbers[:-size]) <= _tolerance(array, rounding)[size:]
    changes = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    starts, ends = changes[::2], changes[1::2]
    if not len(starts):
        return None
    place = int(np.argmax(ends - starts))
    first, last = int(starts[place]), int(ends[place]) + size
    if last - first < 2 * size:
        return None
    period = np.roll(numbers[first : first + size], first % size)
    expected = period[np.arange(len(array)) % size]
    rest = numbers - expected
    return Periodic(period, rest[:first], rest[last:])


def _fits(periodic: Periodic, array: Array) -> bool:
    found = periodic.values(0, len(array), len(array))
    return bool((np.abs(found - array.astype(np.float64)) <= _tolerance(array)).all())
