"""Operators of torch that show the same numbers in another order: nothing is computed.

Each function reads one call: it works out how the result lies over a signal of the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fracstride.network.layout import Axis, Split, View, split
from fracstride.network.reading import Unreadable
from fracstride.network.recording import Call, Varying
from fracstride.torch.capture.reading.lowering import Lowering
from fracstride.torch.capture.reading.stretches import (
    concatenate,
    flip,
    pad,
    select,
    slice_axis,
    split_axis,
    stack,
    unbind,
)

__all__ = ["REARRANGING"]


def _same(lowering: Lowering, call: Call) -> None:
    """The tensor itself, or a copy of it."""
    name = next(iter(call.arguments))
    source = call.arguments[name]
    dtypes = {lowering.recording.tensors[i].dtype for i in (source.index, *call.results)}
    if len(dtypes) > 1:
        raise Unreadable("it changes the dtype")
    _give(lowering, call, lowering.view(source))


def _permute(lowering: Lowering, call: Call) -> None:
    view = lowering.view(call.arguments["self"])
    axes = tuple(view.axes[d] for d in call.arguments["dims"])
    _give(lowering, call, View(view.value, axes))


def _transpose(lowering: Lowering, call: Call) -> None:
    view = lowering.view(call.arguments["self"])
    axes = list(view.axes)
    if len(axes) > 1:
        a, b = (call.arguments.get(name, i) for i, name in enumerate(("dim0", "dim1")))
        axes[a], axes[b] = axes[b], axes[a]
    _give(lowering, call, View(view.value, tuple(axes)))


def _unsqueeze(lowering: Lowering, call: Call) -> None:
    view = lowering.view(call.arguments["self"])
    axes, at = list(view.axes), call.arguments["dim"]
    axes.insert(at + len(axes) + 1 if at < 0 else at, Split(1, 0))
    _give(lowering, call, View(view.value, tuple(axes)))


def _squeeze(lowering: Lowering, call: Call) -> None:
    view = lowering.view(call.arguments["self"])
    rank = len(view.axes)
    wanted = call.arguments.get("dim")
    some = range(rank) if wanted is None else [wanted] if isinstance(wanted, int) else wanted
    gone = {d % rank for d in some}
    axes = [
        axis
        for dimension, axis in enumerate(view.axes)
        if not (dimension in gone and isinstance(axis, Split) and axis.size == 1)
    ]
    if len(axes) != len(lowering.shape(call.results[0])):
        raise Unreadable("an axis of time or of the batch is squeezed")
    _give(lowering, call, View(view.value, tuple(axes)))


def _expand(lowering: Lowering, call: Call) -> None:
    view = lowering.view(call.arguments["self"])
    result = lowering.shape(call.results[0])
    missing = len(result) - len(view.axes)
    axes: list[Axis] = [*(Split(1, 0) for _ in range(missing)), *view.axes]
    for dimension, (axis, size) in enumerate(zip(axes, result, strict=True)):
        if isinstance(axis, Split) and size != axis.size:
            if isinstance(size, Varying):
                raise Unreadable("an axis is expanded along time or the batch")
            axes[dimension] = Split(size, 0)
    _give(lowering, call, View(view.value, tuple(axes)))


def _reshape(lowering: Lowering, call: Call) -> None:
    """Axes of channels are split and merged; batch and time stay by themselves."""
    view = lowering.plain(lowering.view(call.arguments["self"]), call.path)
    result = lowering.shape(call.results[0])
    # (The sizes that a tensor really has: an axis of time may be one position long.)
    old = list(lowering.shape(call.arguments["self"].index))
    axes: list[int | Axis] = []
    waiting = list(zip(view.axes, old, strict=True))
    for size in result:
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
    _give(lowering, call, View(view.value, split(*axes)))


def _channel_runs(axes: Sequence[Axis]) -> list[Any]:
    """The named axes in order, with the number of channels between them."""
    runs: list[Any] = [1]
    for axis in axes:
        if isinstance(axis, Split):
            runs[-1] *= axis.size
        else:
            runs += [axis, 1]
    return runs


def _give(lowering: Lowering, call: Call, view: View) -> None:
    (result,) = call.results
    lowering.tensors[result] = view


_Read = Callable[[Lowering, Call], None]

REARRANGING: dict[str, _Read] = {
    **dict.fromkeys(
        ("alias", "clone", "contiguous", "detach", "lift_fresh", "to", "_to_copy", "dropout"), _same
    ),
    **dict.fromkeys(("feature_dropout", "alpha_dropout", "type_as", "positive"), _same),
    **dict.fromkeys(("permute",), _permute),
    **dict.fromkeys(("transpose", "t", "swapaxes", "numpy_T", "mT"), _transpose),
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    **dict.fromkeys(("expand", "expand_as"), _expand),
    **dict.fromkeys(
        ("view", "reshape", "_unsafe_view", "flatten", "unflatten", "view_as", "reshape_as"),
        _reshape,
    ),
    **dict.fromkeys(("slice", "narrow"), slice_axis),
    "select": select,
    "unbind": unbind,
    **dict.fromkeys(
        ("split", "split_with_sizes", "chunk", "tensor_split", "unsafe_split", "unsafe_chunk"),
        split_axis,
    ),
    **dict.fromkeys(("cat", "concat", "concatenate"), concatenate),
    "stack": stack,
    "flip": flip,
    **dict.fromkeys(("pad", "constant_pad_nd"), pad),
    **dict.fromkeys(("reflection_pad1d", "replication_pad1d"), pad),
}
