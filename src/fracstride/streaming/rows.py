"""Rows of a batch that begin and end on their own: masks, and rows that one call can compute."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from fracstride.arguments import MAX_SIZE
from fracstride.arrays import Array
from fracstride.geometry import Geometry

__all__ = ["Part", "RowPlan", "alike", "check_mask", "plan_rows"]


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


class Part(NamedTuple):
    """Rows of a layer's stream that one call of a kernel computes, and the call.

    Frames and samples are numbered as in one of these rows; only their differences matter.
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
    #: Frames to be carried afterwards: the last of both, none where the rows end.
    keep: int


class RowPlan(NamedTuple):
    """What a push into rows at different progress computes, and what is so afterwards."""

    parts: list[Part]
    #: Samples of each row, and frames that it has received: int64 arrays ``(B,)``.
    counts: Array
    received: Array


def plan_rows(geometry: Geometry, received: Array, frames: Array, ends: Array) -> RowPlan:
    """The calls for rows that have received so many frames each, and now get ``frames`` more.

    Rows beyond the left edge of their signals share a call, however many frames they have received.
    ``ends``: rows that end afterwards. The sizes are those of ``Stream._advance_rows``.

    >>> nobody = np.zeros(2, bool)
    >>> plan = plan_rows(Geometry(5, padding=2), np.array([90, 70]), np.array([1, 1]), nobody)
    >>> plan.parts[0].rows, plan.counts, plan.received
    (slice(0, 2, None), array([1, 1]), array([91, 71]))
    """
    g, parts, counts = geometry, [], np.empty_like(received)
    same = alike(np.minimum(received, _settled(g)), frames, ends)
    for (before, count, end), rows in same:
        after, first_frame, first = before + count, g.first_kept(before), g.final_length(before)
        stop = max(first, g.length_at_end(after)) if end else g.final_length(after)
        keep = 0 if end else after - g.first_kept(after)
        part = Part(rows, first_frame, before - first_frame, count, first, stop - first, keep)
        parts.append(part)
        counts[rows] = part.samples
    return RowPlan(parts, counts, np.where(ends, 0, received + frames))


@lru_cache(maxsize=256)
def _settled(g: Geometry) -> int:
    """The least number of frames from which each gives ``stride`` samples and drops a frame.

    What a row that has received more still needs is the same, shifted.
    """

    def settled(frames: int) -> bool:
        return g.final_length(frames) > 0 and g.first_kept(frames) > 0

    low, high = 0, 1  # `low` is not, `high` is or may be
    while high < MAX_SIZE and not settled(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if settled(middle) else (middle, high)
    return high
