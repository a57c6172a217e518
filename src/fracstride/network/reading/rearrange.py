"""Calls that show the same numbers with other axes: nothing is computed.

Each function works out how the result of a call lies over a signal of the graph. ``view`` is what
the call is given.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from fracstride.network.codes import is_code_dtype
from fracstride.network.layout import TIME, Axis, Split, View, split
from fracstride.network.operations.code_arithmetic import ToFloat
from fracstride.network.operations.interpolate import nearest
from fracstride.network.reading.folded_time import with_time_of
from fracstride.network.reading.lowering import Lowering
from fracstride.network.reading.reader import Unreadable
from fracstride.network.recording import Call, Reference, Size, Varying

__all__ = [
    "expand",
    "give",
    "permute",
    "repeat_time",
    "reshape",
    "same",
    "squeeze",
    "tile",
    "unsqueeze",
]


def give(lowering: Lowering, call: Call, view: View) -> None:
    """A view is the result."""
    (result,) = call.results
    lowering.tensors[result] = view


def same(lowering: Lowering, call: Call, source: Reference) -> None:
    """The tensor itself. Codes may get a dtype that holds them all, or become floats."""
    old, new = (lowering.recording.tensors[i].dtype for i in (source.index, call.results[0]))
    wider = is_code_dtype(old) and is_code_dtype(new) and np.can_cast(old, new, "safe")
    view = lowering.view(source)
    if view.value.is_codes and new == lowering.dtype:
        view = View(lowering.graph.add(ToFloat(), view.value, path=call.path), view.axes)
    elif old != new and not wider:
        raise Unreadable("it changes the dtype")
    lowering.tensors[call.results[0]] = view


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


def tile(lowering: Lowering, call: Call, view: View, repeats: Sequence[Size]) -> None:
    """Axes of channels, repeated as a whole; new ones in front, if there are more numbers."""
    missing = len(repeats) - len(view.axes)
    axes: list[Axis] = [*(Split(1, 0) for _ in range(missing)), *view.axes]
    for dimension, (axis, count) in enumerate(zip(axes, repeats, strict=True)):
        if count == 1:
            continue
        if not isinstance(axis, Split) or axis.size != 1 or not isinstance(count, int):
            raise Unreadable("it repeats an axis of more than one position")
        axes[dimension] = Split(count, 0)
    give(lowering, call, View(view.value, tuple(axes)))


def reshape(lowering: Lowering, call: Call, view: View, sizes: Sequence[Size]) -> None:
    """Axes of channels are split and merged; the batch stays by itself, time may be folded.

    ``sizes`` are those that the tensor really has: an axis of time may be one position long.
    """
    view, sizes = _repeated(lowering, call, view, sizes)
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


def _repeated(
    lowering: Lowering, call: Call, view: View, sizes: Sequence[Size]
) -> tuple[View, Sequence[Size]]:
    """Time merged with an axis that repeats each position: a longer signal. Else as it is."""
    if TIME not in view.axes[:-1] or view.value.is_codes:
        return view, sizes
    place = view.axes.index(TIME)
    repeats = view.axes[place + 1]
    if not isinstance(repeats, Split) or repeats.step or repeats.size == 1:
        return view, sizes
    longer = Varying(tuple(n * repeats.size for n in lowering.sizes(sizes[place])))
    result = lowering.shape(call.results[0])
    if longer not in result or sizes[place] in result:
        return view, sizes
    value = repeat_time(lowering, call, view, repeats.size).value
    axes = (*view.axes[: place + 1], *view.axes[place + 2 :])
    return View(value, axes), [*sizes[:place], longer, *sizes[place + 2 :]]


def repeat_time(lowering: Lowering, call: Call, view: View, times: int) -> View:
    """Each position of time so many times."""
    if view.value.is_codes or times < 1:
        raise Unreadable("it repeats codes, or repeats nothing")
    operation = nearest(view.value.channels, times, lowering.dtype)
    return View(lowering.graph.add(operation, view.value, path=call.path), view.axes)


def _channel_runs(axes: Sequence[Axis]) -> list[Any]:
    """The named axes in order, with the number of channels between them."""
    runs: list[Any] = [1]
    for axis in axes:
        if isinstance(axis, Split):
            runs[-1] *= axis.size
        else:
            runs += [axis, 1]
    return runs
