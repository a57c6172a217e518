"""Rows of a batch that begin and end on their own: masks, and rows that one call can compute."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple, Protocol

import numpy as np

from fracstride.arguments import MAX_SIZE
from fracstride.arrays import Array

__all__ = [
    "RowCall",
    "RowPlan",
    "Schedule",
    "alike",
    "check_mask",
    "least_from_which",
    "plan_rows",
    "settled_after",
]


def check_mask(name: str, mask: Any, rows: int | None) -> Array:
    """The mask as an array of one bool for each row, of any number of rows if that is None.

    ``ValueError``, with the argument's name, for anything else.

    >>> check_mask("active", [True, False], 2)
    array([ True, False])
    """
    array = np.asarray(mask)
    if array.dtype != np.bool_ or array.ndim != 1 or (rows is not None and len(array) != rows):
        count = "bools" if rows is None else f"{rows} bools"
        raise ValueError(
            f"{name} must be a mask of {count}, one for each row, "
            f"got {array.dtype} of shape {array.shape}"
        )
    return array


def alike(*columns: Array) -> list[tuple[tuple[int, ...], slice | Array]]:
    """Rows that have the same number in every column, with these numbers.

    Neighbours are a slice, so that they are indexed without a copy; others an array of indices.

    >>> alike(np.array([3, 5, 5, 3]), np.array([0, 1, 1, 0]))
    [((3, 0), array([0, 3])), ((5, 1), slice(1, 3, None))]
    """
    rows: dict[tuple[int, ...], list[int]] = {}
    for row, numbers in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        rows.setdefault(numbers, []).append(row)
    return [
        (
            numbers,
            slice(some[0], some[-1] + 1)
            if some[-1] - some[0] == len(some) - 1
            else np.array(some, np.int64),
        )
        for numbers, some in rows.items()
    ]


class Schedule(Protocol):
    """When samples come out and which frames are carried. A ``Geometry`` is one.

    With the rate ``p/q``: from the number of frames on where ``final_length`` and ``first_kept``
    are both positive, ``q`` frames more give ``p`` samples more, and ``q`` carried frames are no
    longer needed.
    """

    @property
    def rate(self) -> Fraction:
        """Samples per frame."""

    def final_length(self, frames: int) -> int:
        """The samples that are out after so many frames."""

    def length_at_end(self, frames: int) -> int:
        """The samples of an input of so many frames; 0 where it would be refused."""

    def first_kept(self, frames: int) -> int:
        """Index of the first of the ``frames`` received that later samples still need."""


class RowCall(NamedTuple):
    """Rows that one call can compute, and the call.

    Frames and samples are numbered as in one of these rows; only their differences matter, and
    whether the first frame is that of the signal.
    """

    rows: slice | Array
    #: The first of the frames that are carried, and how many of them there are.
    first_frame: int
    kept: int
    #: Frames of the chunk that belong to these rows.
    frames: int
    #: The first sample of the result, and how many of them there are.
    first_sample: int
    samples: int
    #: Whether the rows end after these frames.
    last: bool
    #: Frames carried afterwards: the last ones of the carried frames and the chunk together; 0
    #: where the rows end.
    keep: int


class RowPlan(NamedTuple):
    """A push into rows at different progress: its calls, and the progress after it."""

    calls: list[RowCall]
    #: Samples of each row, and frames that it has received: int64 arrays ``(B,)``.
    counts: Array
    received: Array


def plan_rows(
    schedule: Schedule, settled: int, received: Array, frames: Array, ends: Array
) -> RowPlan:
    """The calls for rows that have received so many frames each, and now get ``frames`` more.

    Rows beyond the left edge of their signals share a call, however many frames they have received;
    with the rate ``p/q``, if these numbers differ by a multiple of ``q``.

    Args:
        schedule: of each row.
        settled: :func:`settled_after` of the schedule.
        received: int64 ``(B,)``.
        frames: int64 ``(B,)``.
        ends: bool ``(B,)``: rows that end afterwards.

    >>> from fracstride import Geometry
    >>> geometry, none = Geometry(5, padding=2), np.zeros(2, bool)
    >>> settled = settled_after(geometry)
    >>> plan = plan_rows(geometry, settled, np.array([90, 70]), np.array([1, 1]), none)
    >>> settled, plan.calls[0].rows, plan.counts, plan.received
    (5, slice(0, 2, None), array([1, 1]), array([91, 71]))
    """
    calls, counts = [], np.zeros_like(received)
    period = schedule.rate.denominator
    beyond = np.maximum(received - settled, 0) % period
    for (before, count, end), rows in alike(np.minimum(received, settled) + beyond, frames, ends):
        after, start = before + count, schedule.first_kept(before)
        first = schedule.final_length(before)
        stop = max(first, schedule.length_at_end(after)) if end else schedule.final_length(after)
        keep = 0 if end else after - schedule.first_kept(after)
        calls.append(
            RowCall(rows, start, before - start, count, first, stop - first, bool(end), keep)
        )
        counts[rows] = stop - first
    return RowPlan(calls, counts, np.where(ends, 0, received + frames))


def settled_after(schedule: Schedule) -> int:
    """The least number of frames from which on samples come out and frames are freed steadily."""

    def settled(frames: int) -> bool:
        return schedule.final_length(frames) > 0 and schedule.first_kept(frames) > 0

    return least_from_which(settled)


def least_from_which(holds: Callable[[int], bool]) -> int:
    """The least number from 1 on from which on something holds for good.

    >>> least_from_which(lambda number: number > 40)
    41
    """
    low, high = 0, 1  # for `low` it does not, for `high` it does or may
    while high < MAX_SIZE and not holds(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
