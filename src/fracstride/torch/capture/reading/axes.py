"""Operators of torch that rearrange axes, or take, add or join stretches of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fracstride.network.layout import TIME, Split, View
from fracstride.network.reading import Unreadable, rearrange, stretches
from fracstride.network.reading.lowering import Lowering
from fracstride.network.recording import Call, Size

__all__ = ["REARRANGING"]


def _view(lowering: Lowering, call: Call) -> View:
    return lowering.view(call.arguments["self"])


def _same(lowering: Lowering, call: Call) -> None:
    """The tensor itself, or a copy of it."""
    name = next(iter(call.arguments))
    source = call.arguments[name]
    rearrange.same(lowering, call, source)


def _permute(lowering: Lowering, call: Call) -> None:
    rearrange.permute(lowering, call, _view(lowering, call), call.arguments["dims"])


def _transpose(lowering: Lowering, call: Call) -> None:
    view = _view(lowering, call)
    dims = list(range(len(view.axes)))
    if len(dims) > 1:
        usual = (-2, -1) if call.operator.startswith("aten.mT.") else (0, 1)
        a, b = (call.arguments.get(f"dim{i}", usual[i]) for i in (0, 1))
        dims[a], dims[b] = dims[b], dims[a]
    rearrange.permute(lowering, call, view, dims)


def _matrix_transpose(lowering: Lowering, call: Call) -> None:
    view = _view(lowering, call)
    *before, a, b = range(len(view.axes))
    rearrange.permute(lowering, call, view, [*before, b, a])


def _reverse_axes(lowering: Lowering, call: Call) -> None:
    view = _view(lowering, call)
    rearrange.permute(lowering, call, view, range(len(view.axes))[::-1])


def _unsqueeze(lowering: Lowering, call: Call) -> None:
    rearrange.unsqueeze(lowering, call, _view(lowering, call), [call.arguments["dim"]])


def _squeeze(lowering: Lowering, call: Call) -> None:
    dims = call.arguments.get("dim")
    dims = [dims] if isinstance(dims, int) else dims
    rearrange.squeeze(lowering, call, _view(lowering, call), dims)


def _expand(lowering: Lowering, call: Call) -> None:
    rearrange.expand(lowering, call, _view(lowering, call))


def _repeat(lowering: Lowering, call: Call) -> None:
    rearrange.tile(lowering, call, _view(lowering, call), call.arguments["repeats"])


def _repeat_interleave(lowering: Lowering, call: Call) -> None:
    view = _view(lowering, call)
    dim, times = call.arguments.get("dim"), call.arguments.get("repeats")
    if not isinstance(dim, int) or not isinstance(times, int):
        raise Unreadable("it repeats a flat tensor, or each position another number of times")
    dimension = dim % len(view.axes)
    axis = view.axes[dimension]
    if isinstance(axis, Split):
        indices = [index for index in range(axis.size) for _ in range(times)]
        stretches.take(lowering, call, view, dimension, indices)
    elif axis is TIME:
        repeated = view if times == 1 else rearrange.repeat_time(lowering, call, view, times)
        rearrange.give(lowering, call, repeated)
    else:
        raise Unreadable("it repeats the batch")


def _reshape(lowering: Lowering, call: Call) -> None:
    sizes = lowering.shape(call.arguments["self"].index)
    rearrange.reshape(lowering, call, _view(lowering, call), sizes)


def _slice(lowering: Lowering, call: Call) -> None:
    view = _view(lowering, call)
    dimension = call.arguments.get("dim", 0) % len(view.axes)
    starts = lowering.sizes(call.arguments.get("start") or 0)
    if "length" in call.arguments:  # narrow
        lengths = lowering.sizes(call.arguments["length"])
        ends: Sequence[int] = [s + n for s, n in zip(starts, lengths, strict=True)]
    else:
        end: Any = call.arguments.get("end")
        ends = lowering.sizes(2**62 if end is None else end)
    taken = list(zip(starts, ends, strict=True))
    stretches.slice_axis(lowering, call, view, dimension, taken, call.arguments.get("step", 1))


def _select(lowering: Lowering, call: Call) -> None:
    view = _view(lowering, call)
    dimension, index = call.arguments["dim"] % len(view.axes), call.arguments["index"]
    stretches.select(lowering, call, view, dimension, index, call.results[0])


def _unbind(lowering: Lowering, call: Call) -> None:
    view = _view(lowering, call)
    dimension = call.arguments.get("dim", 0) % len(view.axes)
    for index, result in enumerate(call.results):
        stretches.select(lowering, call, view, dimension, index, result)


def _split(lowering: Lowering, call: Call) -> None:
    view = _view(lowering, call)
    dimension = call.arguments.get("dim", 0) % len(view.axes)
    stretches.split_axis(lowering, call, view, dimension)


def _flip(lowering: Lowering, call: Call) -> None:
    stretches.flip(lowering, call, _view(lowering, call), call.arguments["dims"])


def _concatenate(lowering: Lowering, call: Call) -> None:
    rank = len(lowering.shape(call.results[0]))
    dimension = call.arguments.get("dim", 0) % rank
    stretches.concatenate(lowering, call, call.arguments["tensors"], dimension)


def _stack(lowering: Lowering, call: Call) -> None:
    rank = len(lowering.shape(call.results[0]))
    dimension = call.arguments.get("dim", 0) % rank
    stretches.stack(lowering, call, call.arguments["tensors"], dimension)


_MODES = {
    "constant": "zeros",
    "reflect": "reflect",
    "replicate": "replicate",
    "circular": "circular",
    "reflection_pad1d": "reflect",
    "replication_pad1d": "replicate",
}


def _pad(lowering: Lowering, call: Call) -> None:
    operator = call.operator.split(".")[1]
    view = _view(lowering, call)
    mode = _MODES.get(operator) or _MODES[call.arguments.get("mode", "constant")]
    amounts: list[Size] = list(call.arguments["pad" if "pad" in call.arguments else "padding"])
    if isinstance(view.axes[-1], Split) or any(amount != 0 for amount in amounts[2:]):
        raise Unreadable("it pads another axis than time")
    number = float(call.arguments.get("value") or 0)
    stretches.pad(lowering, call, view, (amounts[0], amounts[1]), mode, number)


_Read = Callable[[Lowering, Call], None]

REARRANGING: dict[str, _Read] = {
    **dict.fromkeys(
        ("alias", "clone", "contiguous", "detach", "lift_fresh", "to", "_to_copy", "dropout"), _same
    ),
    **dict.fromkeys(("feature_dropout", "alpha_dropout", "type_as", "positive"), _same),
    "permute": _permute,
    **dict.fromkeys(("transpose", "t", "swapaxes"), _transpose),
    **dict.fromkeys(("mT", "mH", "adjoint"), _matrix_transpose),
    "numpy_T": _reverse_axes,
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    **dict.fromkeys(("expand", "expand_as"), _expand),
    **dict.fromkeys(
        ("view", "reshape", "_unsafe_view", "flatten", "unflatten", "view_as", "reshape_as"),
        _reshape,
    ),
    **dict.fromkeys(("slice", "narrow"), _slice),
    "repeat": _repeat,
    "repeat_interleave": _repeat_interleave,
    "select": _select,
    "unbind": _unbind,
    **dict.fromkeys(
        ("split", "split_with_sizes", "chunk", "tensor_split", "unsafe_split", "unsafe_chunk"),
        _split,
    ),
    **dict.fromkeys(("cat", "concat", "concatenate"), _concatenate),
    "stack": _stack,
    "flip": _flip,
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    **dict.fromkeys(("reflection_pad1d", "replication_pad1d"), _pad),
}
