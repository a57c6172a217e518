"""Operators of torch that take, add or join stretches of an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fracstride.network.layout import BATCH, TIME, Axis, Split, View, split
from fracstride.network.operations.channels import Channels
from fracstride.network.operations.concatenate import Concatenate
from fracstride.network.operations.crop import Crop
from fracstride.network.operations.pad import Pad
from fracstride.network.reading import Unreadable
from fracstride.network.recording import Call, Constant, Filled, Reference, Size
from fracstride.network.sizes import constant_gap
from fracstride.torch.capture.reading.lowering import Lowering

__all__ = ["concatenate", "flip", "pad", "select", "slice_axis", "split_axis", "stack", "unbind"]


def slice_axis(lowering: Lowering, call: Call) -> None:
    """Of channels, a view; of time, a crop."""
    view = lowering.view(call.arguments["self"])
    dimension = call.arguments.get("dim", 0) % len(view.axes)
    start: Size = call.arguments.get("start") or 0
    end: Any = call.arguments.get("end")
    if "length" in call.arguments:  # narrow
        length = call.arguments["length"]
        starts = lowering.sizes(start)
        ends: Any = [s + n for s, n in zip(starts, lowering.sizes(length), strict=True)]
    else:
        starts = lowering.sizes(start)
        ends = lowering.sizes(2**62 if end is None else end)
    step = call.arguments.get("step", 1)
    axis = view.axes[dimension]
    if isinstance(axis, Split):
        if len(set(starts)) > 1 or len(set(ends)) > 1 or not isinstance(step, int):
            raise Unreadable("the channels that it takes differ from call to call")
        _take(lowering, call, view, dimension, range(axis.size)[starts[0] : ends[0] : step])
        return
    if axis is BATCH:
        sizes = lowering.sizes(lowering.shape(call.arguments["self"].index)[dimension])
        whole = all(s in (0, -n) and e >= n for s, e, n in zip(starts, ends, sizes, strict=True))
        if not whole or step != 1:
            raise Unreadable("it takes some entries of the batch")
        lowering.tensors[call.results[0]] = view
        return
    _crop(lowering, call, view, list(zip(starts, ends, strict=True)), step)


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


def select(lowering: Lowering, call: Call) -> None:
    """One position of an axis of channels."""
    view = lowering.view(call.arguments["self"])
    dimension, index = call.arguments["dim"] % len(view.axes), call.arguments["index"]
    _select(lowering, call, view, dimension, index, call.results[0])


def _select(
    lowering: Lowering, call: Call, view: View, dimension: int, index: Any, result: int
) -> None:
    axis = view.axes[dimension]
    if not isinstance(axis, Split) or not isinstance(index, int):
        raise Unreadable("it takes one position of time or of the batch")
    axes = view.axes[:dimension] + view.axes[dimension + 1 :]
    _give_shown(lowering, call, view, axes, axis.step * (index % axis.size), result)


def unbind(lowering: Lowering, call: Call) -> None:
    """Each position of an axis of channels."""
    view = lowering.view(call.arguments["self"])
    dimension = call.arguments.get("dim", 0) % len(view.axes)
    for index, result in enumerate(call.results):
        _select(lowering, call, view, dimension, index, result)


def split_axis(lowering: Lowering, call: Call) -> None:
    """Stretches of an axis of channels."""
    view = lowering.view(call.arguments["self"])
    dimension = call.arguments.get("dim", 0) % len(view.axes)
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


def flip(lowering: Lowering, call: Call) -> None:
    """Axes of channels in reverse order."""
    view = lowering.view(call.arguments["self"])
    axes, offset = list(view.axes), 0
    for dimension in call.arguments["dims"]:
        axis = axes[dimension]
        if not isinstance(axis, Split):
            raise Unreadable("it reverses time or the batch")
        axes[dimension] = Split(axis.size, -axis.step)
        offset += axis.step * (axis.size - 1)
    _give_shown(lowering, call, view, tuple(axes), offset, call.results[0])


def concatenate(lowering: Lowering, call: Call) -> None:
    """Of channels, or of time with stretches of one number, which are pads."""
    parts: Sequence[Any] = call.arguments["tensors"]
    rank = len(lowering.shape(call.results[0]))
    dimension = call.arguments.get("dim", 0) % rank
    views = [lowering.view(part) for part in parts if isinstance(part, Reference)]
    axis = views[0].axes[dimension]
    if axis is TIME:
        _pad_with_constants(lowering, call, parts)
    elif isinstance(axis, Split):
        others = [_around(view, dimension) for view in views]
        if any(other != others[0] for other in others):
            raise Unreadable("its parts do not have the same axes")
        _join(
            lowering,
            call,
            [_part(lowering, call, p, views[0], dimension) for p in parts],
            dimension,
        )
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


def stack(lowering: Lowering, call: Call) -> None:
    """Joined along a new axis of channels."""
    rank = len(lowering.shape(call.results[0]))
    dimension = call.arguments.get("dim", 0) % rank
    parts = []
    for part in call.arguments["tensors"]:
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


_MODES = {
    "constant": "zeros",
    "reflect": "reflect",
    "replicate": "replicate",
    "circular": "circular",
}


def pad(lowering: Lowering, call: Call) -> None:
    """A pad of time, or of channels with a constant."""
    operator = call.operator.split(".")[1]
    view = lowering.view(call.arguments["self"])
    mode = {"reflection_pad1d": "reflect", "replication_pad1d": "replicate"}.get(operator)
    mode = mode or _MODES[call.arguments.get("mode", "constant")]
    amounts: list[Size] = list(call.arguments["pad" if "pad" in call.arguments else "padding"])
    if isinstance(view.axes[-1], Split) or any(amount != 0 for amount in amounts[2:]):
        raise Unreadable("it pads another axis than time")
    left, right = amounts[:2]
    number = call.arguments.get("value")
    operation = _pad_operation(lowering, view, left, right, mode, float(number or 0))
    value = view.value
    if operation != Pad(mode=mode, number=operation.number):
        value = lowering.graph.add(operation, value, path=call.path)
    lowering.tensors[call.results[0]] = View(value, view.axes)


def _pad_operation(
    lowering: Lowering, view: View, left: Size, right: Size, mode: str, number: float
) -> Pad:
    if not isinstance(left, int):
        raise Unreadable("what it adds on the left differs from call to call")
    if left < 0 or min(lowering.sizes(right)) < 0:
        raise Unreadable("it pads by a negative number")
    if isinstance(right, int):
        return Pad(left, right, mode, number)
    lengths = lowering.lengths(view.value.extent)
    wanted = [left + n + r for n, r in zip(lengths, lowering.sizes(right), strict=True)]
    extent = lowering.extent_of(wanted, view.value.extent)
    if extent is None:
        raise Unreadable("what it adds on the right differs from call to call")
    return Pad(left, 0, mode, number, extent)
