"""Calls that take, add or join stretches of an axis.

``view`` is what a call is given. What is taken or added may differ from run to run, where the
lengths do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fracstride.network.layout import BATCH, TIME, Axis, Split, View, split
from fracstride.network.operations.channels import Channels
from fracstride.network.operations.concatenate import Concatenate
from fracstride.network.operations.crop import Crop
from fracstride.network.operations.pad import Pad
from fracstride.network.reading.lowering import Lowering
from fracstride.network.reading.reader import Unreadable
from fracstride.network.recording import Call, Constant, Filled, Reference, Size
from fracstride.network.sizes import constant_gap
from fracstride.network.value import Value

__all__ = [
    "concatenate",
    "flip",
    "pad",
    "pads",
    "select",
    "slice_axis",
    "split_axis",
    "stack",
    "take",
]


def slice_axis(
    lowering: Lowering,
    call: Call,
    view: View,
    dimension: int,
    stretches: Sequence[tuple[int, int]],
    step: Any,
) -> None:
    """Of channels, a view; of time, a crop. A stretch is ``(start, end)`` of each run."""
    axis = view.axes[dimension]
    if isinstance(axis, Split):
        if len(set(stretches)) > 1 or not isinstance(step, int):
            raise Unreadable("the channels that it takes differ from call to call")
        start, end = stretches[0]
        taken = range(axis.size)[slice(start, end, step)]
        _take(lowering, call, view, dimension, taken)
    elif axis is BATCH:
        sizes = [c.batch for c in lowering.conditions]
        ends = zip(stretches, sizes, strict=True)
        if step != 1 or not all(start in (0, -n) and end >= n for (start, end), n in ends):
            raise Unreadable("it takes some entries of the batch")
        lowering.tensors[call.results[0]] = view
    else:
        _crop(lowering, call, view, stretches, step)


def _take(lowering: Lowering, call: Call, view: View, dimension: int, taken: range) -> None:
    """Some positions of an axis of channels."""
    axis = view.axes[dimension]
    assert isinstance(axis, Split)
    if not taken:
        raise Unreadable("it takes no channels")
    axes = list(view.axes)
    axes[dimension] = Split(len(taken), axis.step * taken.step)
    offset = axis.step * taken.start
    _give_shown(lowering, call, view, tuple(axes), offset, call.results[0])


def _give_shown(
    lowering: Lowering,
    call: Call,
    view: View,
    axes: tuple[Axis, ...],
    offset: int,
    result: int,
) -> None:
    """The channels that these axes show from ``offset`` on, as a signal of their own."""
    indices = View(view.value, axes).channel_indices + offset
    value = view.value
    if indices.size != value.channels or (indices != np.arange(indices.size)).any():
        value = lowering.graph.add(Channels(tuple(indices.tolist())), value, path=call.path)
    sizes = [axis.size if isinstance(axis, Split) else axis for axis in axes]
    lowering.tensors[result] = View(value, split(*sizes))


def _crop(
    lowering: Lowering, call: Call, view: View, stretches: Sequence[tuple[int, int]], step: Any
) -> None:
    if step != 1:
        raise Unreadable("it takes every n-th position")
    lengths = lowering.lengths(view.value.extent)
    found = [slice(*ends).indices(n)[:2] for ends, n in zip(stretches, lengths, strict=True)]
    kept = [max(end - start, 0) for start, end in found]
    if any(kept):  # where nothing is left, the ends do not say what is left out
        lengths = tuple(n for n, left in zip(lengths, kept, strict=True) if left)
        found = [ends for ends, left in zip(found, kept, strict=True) if left]
    left, right = found[0][0], constant_gap(lengths, [max(*ends) for ends in found])
    if any(start != left for start, _ in found) or len(set(kept)) == 1 < len(set(lengths)):
        raise Unreadable("the stretch of time that it takes is not all but a fixed part")
    value, operation = view.value, Crop(left, right or 0)
    if right is None:
        extent = lowering.extent_of(kept, value.extent)
        if extent is None:
            raise Unreadable("what it leaves out of time differs from call to call")
        operation = Crop(left, 0, extent)
    if operation != Crop():
        value = lowering.graph.add(operation, value, path=call.path)
    lowering.tensors[call.results[0]] = View(value, view.axes)


def select(
    lowering: Lowering, call: Call, view: View, dimension: int, index: Any, result: int
) -> None:
    """One position of an axis of channels, whose axis is left out."""
    axis = view.axes[dimension]
    if not isinstance(axis, Split) or not isinstance(index, int):
        raise Unreadable("it takes one position of time or of the batch")
    axes = view.axes[:dimension] + view.axes[dimension + 1 :]
    _give_shown(lowering, call, view, axes, axis.step * (index % axis.size), result)


def take(
    lowering: Lowering, call: Call, view: View, dimension: int, indices: Sequence[Any]
) -> None:
    """Several positions of an axis of channels, in any order."""
    axis = view.axes[dimension]
    if not isinstance(axis, Split) or not all(isinstance(index, int) for index in indices):
        raise Unreadable("it takes positions of time or of the batch")
    sizes = [a.size for a in view.axes if isinstance(a, Split)]
    place = sum(isinstance(a, Split) for a in view.axes[:dimension])
    taken = np.take(view.channel_indices.reshape(sizes), indices, axis=place)
    channels = Channels(tuple(taken.reshape(-1).tolist()))
    value = lowering.graph.add(channels, view.value, path=call.path)
    named: list[int | Axis] = [a.size if isinstance(a, Split) else a for a in view.axes]
    named[dimension] = len(indices)
    lowering.tensors[call.results[0]] = View(value, split(*named))


def split_axis(lowering: Lowering, call: Call, view: View, dimension: int) -> None:
    """Stretches of an axis of channels, which are the results."""
    axis, first = view.axes[dimension], 0
    if not isinstance(axis, Split):
        raise Unreadable("it cuts time or the batch")
    for result in call.results:
        size = lowering.shape(result)[dimension]
        assert isinstance(size, int)
        axes = list(view.axes)
        axes[dimension] = Split(size, axis.step)
        _give_shown(lowering, call, view, tuple(axes), axis.step * first, result)
        first += size


def flip(lowering: Lowering, call: Call, view: View, dims: Sequence[int]) -> None:
    """Axes of channels in reverse order."""
    axes, offset = list(view.axes), 0
    for dimension in dims:
        axis = axes[dimension]
        if not isinstance(axis, Split):
            raise Unreadable("it reverses time or the batch")
        axes[dimension] = Split(axis.size, -axis.step)
        offset += axis.step * (axis.size - 1)
    _give_shown(lowering, call, view, tuple(axes), offset, call.results[0])


def concatenate(lowering: Lowering, call: Call, parts: Sequence[Any], dimension: int) -> None:
    """Of channels, or of time with stretches of one number, which are pads."""
    views = [lowering.view(part) for part in parts if isinstance(part, Reference)]
    axis = views[0].axes[dimension]
    if axis is TIME:
        _pad_with_constants(lowering, call, parts)
    elif isinstance(axis, Split):
        others = [_around(view, dimension) for view in views]
        if any(other != others[0] for other in others):
            raise Unreadable("its parts do not have the same axes")
        found = [_part(lowering, call, part, views[0], dimension) for part in parts]
        _join(lowering, call, found, dimension)
    else:
        raise Unreadable("it joins batches")


def _around(view: View, dimension: int) -> list[Any]:
    axes = [a.size if isinstance(a, Split) else a for a in view.axes]
    return axes[:dimension] + axes[dimension + 1 :]


def _part(lowering: Lowering, call: Call, part: Any, like: View, dimension: int) -> View:
    """A part of a concatenation of channels, a constant one too."""
    if isinstance(part, Reference):
        return lowering.plain(lowering.view(part), call.path)
    if isinstance(part, Constant):
        shape = part.array.shape
        named = [a for a in like.axes if not isinstance(a, Split)]
        whole = [s for s, a in zip(shape, like.axes, strict=True) if not isinstance(a, Split)]
        if any(size != 1 for size in whole) and named:
            raise Unreadable("a constant part varies along the batch or along time")
        raise Unreadable("a part is a constant")
    raise Unreadable("a part is a constant")


def _join(lowering: Lowering, call: Call, parts: Sequence[View], dimension: int) -> None:
    """Views joined along an axis of channels."""
    first = parts[0]
    before = [a.size for a in first.axes[:dimension] if isinstance(a, Split)]
    sizes = []
    for view in parts:
        axis = view.axes[dimension]
        assert isinstance(axis, Split)
        sizes.append(axis.size)
    joined = lowering.graph.add(Concatenate(), *(v.value for v in parts), path=call.path)
    named: list[int | Axis] = [a.size if isinstance(a, Split) else a for a in first.axes]
    if int(np.prod(before, dtype=np.int64)) == 1:
        named[dimension] = sum(sizes)
        lowering.tensors[call.results[0]] = View(joined, split(*named))
        return
    # Another axis of channels is slower: the channels of the parts take turns.
    starts = np.cumsum([0, *(v.value.channels for v in parts[:-1])])
    shapes = [[a.size for a in v.axes if isinstance(a, Split)] for v in parts]
    place = sum(isinstance(a, Split) for a in first.axes[:dimension])
    numbers = [
        (start + np.arange(v.value.channels)).reshape(shape)
        for start, v, shape in zip(starts, parts, shapes, strict=True)
    ]
    order = np.concatenate(numbers, axis=place).reshape(-1)
    value = lowering.graph.add(Channels(tuple(order.tolist())), joined, path=call.path)
    named[dimension] = sum(sizes)
    lowering.tensors[call.results[0]] = View(value, split(*named))


def stack(lowering: Lowering, call: Call, tensors: Sequence[Any], dimension: int) -> None:
    """Joined along a new axis of channels."""
    parts = []
    for part in tensors:
        view = lowering.plain(lowering.view(part), call.path)
        axes = (*view.axes[:dimension], Split(1, 0), *view.axes[dimension:])
        parts.append(View(view.value, axes))
    if any(_around(view, dimension) != _around(parts[0], dimension) for view in parts):
        raise Unreadable("its parts do not have the same axes")
    _join(lowering, call, parts, dimension)


def _pad_with_constants(lowering: Lowering, call: Call, parts: Sequence[Any]) -> None:
    """``cat([zeros, x, zeros])`` along time."""
    signals = [i for i, part in enumerate(parts) if isinstance(part, Reference)]
    if len(signals) != 1:
        raise Unreadable("it joins stretches of time of several signals")
    (at,) = signals
    view = lowering.view(parts[at])
    dimension = view.axes.index(TIME)
    amounts, numbers = [0, 0], set()
    for i, part in enumerate(parts):
        if i == at:
            continue
        number, size = _uniform(part, dimension)
        amounts[i > at] += size
        numbers.add(number)
    if len(numbers) != 1:
        raise Unreadable("it joins a signal with stretches of different numbers")
    operation = Pad(amounts[0], amounts[1], number=numbers.pop())
    value = lowering.graph.add(operation, view.value, path=call.path)
    lowering.tensors[call.results[0]] = View(value, view.axes)


def _uniform(part: Any, dimension: int) -> tuple[float, int]:
    if isinstance(part, Filled):
        size = part.shape[dimension]
        if isinstance(size, int):
            return part.number, size
    if isinstance(part, Constant) and part.array.size:
        first = part.array.reshape(-1)[0]
        if (part.array == first).all():
            return float(first), part.array.shape[dimension]
    raise Unreadable("it joins a signal with a stretch that is not one number of a fixed length")


def pad(
    lowering: Lowering,
    call: Call,
    view: View,
    amounts: tuple[Size, Size],
    mode: str = "zeros",
    number: float = 0.0,
) -> None:
    """A pad of time: so many positions on the left and on the right."""
    left, right = amounts
    if not isinstance(left, int):
        raise Unreadable("what it adds on the left differs from call to call")
    value = view.value
    for operation in pads(lowering, value, left, right, mode, number):
        value = lowering.graph.add(operation, value, path=call.path)
    lowering.tensors[call.results[0]] = View(value, view.axes)


def pads(
    lowering: Lowering,
    value: Value,
    left: int,
    right: Size,
    mode: str = "zeros",
    number: float = 0.0,
) -> list[Crop | Pad]:
    """The crops and pads of a value; negative amounts are left out first."""
    least = min(lowering.sizes(right))
    if mode != "zeros" and min(left, least) < 0:
        raise Unreadable("it pads by a negative number")
    if isinstance(right, int):
        crop = Crop(max(-left, 0), max(-right, 0))
        pad = Pad(max(left, 0), max(right, 0), mode, number)
        return [o for o in (crop, pad) if o not in (Crop(), Pad(mode=mode, number=number))]
    lengths = lowering.lengths(value.extent)
    wanted = [left + n + r for n, r in zip(lengths, lowering.sizes(right), strict=True)]
    extent = lowering.extent_of(wanted, value.extent)
    if extent is None or (left < 0 and least < 0):
        raise Unreadable("what it adds on the right differs from call to call")
    if max(lowering.sizes(right)) <= 0 and left <= 0:
        return [Crop(-left, 0, extent)]
    if least >= 0 <= left:
        return [Pad(left, 0, mode, number, extent)]
    longer = value.extent.then(lambda n: n + left).joined(extent, max)
    return [Pad(left, 0, mode, number, longer), Crop(0, 0, extent)]
