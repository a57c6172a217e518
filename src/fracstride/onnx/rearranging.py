"""Operators of ONNX that rearrange axes, or take, add or join stretches of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fracstride.network.layout import TIME, View
from fracstride.network.reading import Unreadable, rearrange, stretches
from fracstride.network.reading.lowering import Lowering
from fracstride.network.recording import Call, Constant, Filled, Reference, Size

__all__ = ["REARRANGING"]


def _first(lowering: Lowering, call: Call) -> View:
    """The view that is the first input."""
    return lowering.view(_source(call))


def _source(call: Call) -> Any:
    return next(a for a in call.arguments.values() if isinstance(a, Reference))


def _same(lowering: Lowering, call: Call) -> None:
    """The tensor itself."""
    if call.arguments.get("training_mode"):
        raise Unreadable("it is in training mode")
    source = _source(call)
    before, after = (lowering.recording.tensors[i].dtype for i in (source.index, call.results[0]))
    if (before, after) == ("bool", lowering.dtype):  # truth is 1 or 0 already
        lowering.tensors[call.results[0]] = lowering.view(source)
    else:
        rearrange.same(lowering, call, source)


def _transpose(lowering: Lowering, call: Call) -> None:
    view = _first(lowering, call)
    dims = call.arguments.get("perm") or list(range(len(view.axes)))[::-1]
    rearrange.permute(lowering, call, view, dims)


def _unsqueeze(lowering: Lowering, call: Call) -> None:
    rearrange.unsqueeze(lowering, call, _first(lowering, call), _axes(call))


def _squeeze(lowering: Lowering, call: Call) -> None:
    dims = None if call.arguments.get("axes") is None else _axes(call)
    rearrange.squeeze(lowering, call, _first(lowering, call), dims)


def _expand(lowering: Lowering, call: Call) -> None:
    rearrange.expand(lowering, call, _first(lowering, call))


def _tile(lowering: Lowering, call: Call) -> None:
    rearrange.tile(lowering, call, _first(lowering, call), call.arguments["repeats"])


def _reshape(lowering: Lowering, call: Call) -> None:
    sizes = lowering.shape(_source(call).index)
    rearrange.reshape(lowering, call, _first(lowering, call), sizes)


def _slice(lowering: Lowering, call: Call) -> None:
    """One axis after the other."""
    given = call.arguments
    view = _first(lowering, call)
    starts, ends = given["starts"], given["ends"]
    axes = _axes(call) if given.get("axes") is not None else list(range(len(starts)))
    steps = given.get("steps") or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        taken = list(zip(lowering.sizes(start), lowering.sizes(end), strict=True))
        dimension = axis % len(view.axes)
        stretches.slice_axis(lowering, call, view, dimension, taken, step)
        found = lowering.tensors[call.results[0]]
        assert isinstance(found, View)
        view = found


def _gather(lowering: Lowering, call: Call) -> None:
    """One position of an axis of channels, or several."""
    view, indices = lowering.view(call.arguments["data"]), call.arguments["indices"]
    dimension = call.arguments.get("axis", 0) % len(view.axes)
    if isinstance(indices, list):
        stretches.take(lowering, call, view, dimension, indices)
    else:
        stretches.select(lowering, call, view, dimension, indices, call.results[0])


def _split(lowering: Lowering, call: Call) -> None:
    view = _first(lowering, call)
    dimension = call.arguments.get("axis", 0) % len(view.axes)
    stretches.split_axis(lowering, call, view, dimension)


def _concatenate(lowering: Lowering, call: Call) -> None:
    rank = len(lowering.shape(call.results[0]))
    dimension = call.arguments["axis"] % rank
    stretches.concatenate(lowering, call, call.arguments["inputs"], dimension)


_MODES = {"constant": "zeros", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def _pad(lowering: Lowering, call: Call) -> None:
    view = lowering.view(call.arguments["data"])
    rank, amounts = len(view.axes), call.arguments["pads"]
    axes = _axes(call) if call.arguments.get("axes") is not None else list(range(rank))
    half = len(axes)
    ends: dict[int, tuple[Size, Size]] = {
        axis % rank: (amounts[i], amounts[half + i]) for i, axis in enumerate(axes)
    }
    moved = {axis: pair for axis, pair in ends.items() if pair != (0, 0)}
    if any(view.axes[axis] is not TIME for axis in moved):
        raise Unreadable("it pads another axis than time")
    mode = _MODES[call.arguments.get("mode", "constant")]
    number = _one(call.arguments.get("constant_value"))
    pair = next(iter(moved.values()), (0, 0))
    stretches.pad(lowering, call, view, pair, mode, number)


def _one(argument: Any) -> float:
    if argument is None:
        return 0.0
    if isinstance(argument, Constant) and argument.array.size == 1:
        return float(argument.array.reshape(()))
    if isinstance(argument, (Filled, int, float)):
        return float(argument.number if isinstance(argument, Filled) else argument)
    raise Unreadable("its number differs from call to call")


def _axes(call: Call) -> list[int]:
    axes = call.arguments.get("axes")
    if not isinstance(axes, list) or not all(isinstance(axis, int) for axis in axes):
        raise Unreadable("its axes differ from call to call")
    return axes


REARRANGING: dict[str, Callable[[Lowering, Call], None]] = {
    "Cast": _same,
    "CastLike": _same,
    "Concat": _concatenate,
    "Dropout": _same,
    "Expand": _expand,
    "Flatten": _reshape,
    "Gather": _gather,
    "Identity": _same,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
