"""Calls that show the same numbers with other axes: nothing is computed.

Each function works out how the result of a call lies over a signal of the graph. ``view`` is what
the call is given.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from fracstride.network.layout import Axis, Split, View, split
from fracstride.network.reading.folded_time import with_time_of
from fracstride.network.reading.lowering import Lowering
from fracstride.network.reading.reader import Unreadable
from fracstride.network.recording import Call, Size, Varying

__all__ = ["expand", "give", "permute", "reshape", "squeeze", "unsqueeze"]


def give(lowering: Lowering, call: Call, view: View) -> None:
    """A view is the result."""
    (result,) = call.results
    lowering.tensors[result] = view


def permute(lowering: Lowering, call: Call, view: View, dims: Sequence[int]) -> None:
    """The axes in another order."""
    give(lowering, call, View(view.value, tuple(view.axes[d] for d in dims)))


def unsqueeze(lowering: Lowering, call: Call, view: View, dims: Collection[int]) -> None:
    """New axes of one position, at these places of the result."""
    rank = len(view.axes) + len(dims)
    new, old = {d % rank for d in dims}, iter(view.axes)
    axes = tuple(Split(1, 0) if d in new else next(old) for d in range(rank))
    give(lowering, call, View(view.value, axes))


def squeeze(lowering: Lowering, call: Call, view: View, dims: Collection[int] | None) -> None:
    """Without these axes, or without all, where they have one position."""
    rank = len(view.axes)
    gone = set(range(rank)) if dims is None else {d % rank for d in dims}
    axes = [
        axis
        for dimension, axis in enumerate(view.axes)
        if not (dimension in gone and isinstance(axis, Split) and axis.size == 1)
    ]
    if len(axes) != len(lowering.shape(call.results[0])):
        raise Unreadable("an axis of time or of the batch is squeezed")
    give(lowering, call, View(view.value, tuple(axes)))


def expand(lowering: Lowering, call: Call, view: View) -> None:
    """Axes of one position, repeated."""
    result = lowering.shape(call.results[0])
    missing = len(result) - len(view.axes)
    axes: list[Axis] = [*(Split(1, 0) for _ in range(missing)), *view.axes]
    for dimension, (axis, size) in enumerate(zip(axes, result, strict=True)):
        if isinstance(axis, Split) and size != axis.size:
            if isinstance(size, Varying):
                raise Unreadable("an axis is expanded along time or the batch")
            axes[dimension] = Split(size, 0)
    give(lowering, call, View(view.value, tuple(axes)))


def reshape(lowering: Lowering, call: Call, view: View, sizes: Sequence[Size]) -> None:
    """Axes of channels are split and merged; the batch stays by itself, time may be folded.

    ``sizes`` are those that the tensor really has: an axis of time may be one position long.
    """
    view, sizes = with_time_of(lowering, call, view, sizes)
    view = lowering.plain(view, call.path)
    axes: list[int | Axis] = []
    waiting = list(zip(view.axes, sizes, strict=True))
    for size in lowering.shape(call.results[0]):
        if isinstance(size, Varying):
            while waiting and isinstance(waiting[0][0], Split):
                waiting.pop(0)
            if not waiting or waiting[0][1] != size:
                raise Unreadable("batch or time are merged with other axes")
            axes.append(waiting.pop(0)[0])
        else:
            axes.append(size)
    if any(not isinstance(axis, Split) for axis, _ in waiting):
        raise Unreadable("batch or time are merged with other axes")
    if _channel_runs(view.axes) != _channel_runs(split(*axes)):
        raise Unreadable("channels move across the batch or time")
    give(lowering, call, View(view.value, split(*axes)))


def _channel_runs(axes: Sequence[Axis]) -> list[Any]:
    """The named axes in order, with the number of channels between them."""
    runs: list[Any] = [1]
    for axis in axes:
        if isinstance(axis, Split):
            runs[-1] *= axis.size
        else:
            runs += [axis, 1]
    return runs
