"""What the inputs of an ONNX model are: which axis is the batch, which one is time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnx
from onnx import helper

from fracstride.onnx.model import Part

__all__ = ["Given", "givens"]

_CONVOLUTIONS = {"Conv": 1, "ConvTranspose": 0}  # axis of the weight with the input's channels


@dataclass(frozen=True)
class Given:
    """An input of the network.

    Args:
        name: in the model.
        sizes: of its axes; None of time and of a batch that may differ.
        time: the axis of time, or None.
        batch: the axis of the batch, or None.
        per_clock: positions for each tick.
        symbol: what the file calls the length; lengths of one name are in proportion.
        dtype: as NumPy calls it.
    """

    name: str
    sizes: tuple[int | None, ...]
    time: int | None
    batch: int | None
    per_clock: int
    symbol: str
    dtype: str

    def of_one(self) -> Given:
        """The same with one entry, always."""
        if self.batch is None:
            return self
        sizes = tuple(1 if axis == self.batch else size for axis, size in enumerate(self.sizes))
        return replace(self, sizes=sizes, batch=None)

    def shape(self, clock: int, batch: int) -> tuple[int, ...]:
        """For so many ticks and entries."""
        sizes = [1 if size is None else size for size in self.sizes]
        if self.batch is not None:
            sizes[self.batch] = batch
        if self.time is not None:
            sizes[self.time] = clock * self.per_clock
        return tuple(sizes)


def givens(part: Part, time: Any) -> list[Given]:
    """The inputs of a model.

    Raises:
        TypeError, ValueError: ``time`` does not fit, or an input's axes cannot be told.
    """
    count = len(part.inputs)
    axes = list(time) if isinstance(time, (tuple, list)) else [time] * count
    if len(axes) != count or not all(axis is None or _is_int(axis) for axis in axes):
        raise TypeError(f"time must be an int, or a tuple of {count}, got {time!r}")
    shapes = {name: _dimensions(part, name) for name in part.inputs}
    moving = any(
        isinstance(size, str) and (axis or len(shape) == 1)
        for shape in shapes.values()
        for axis, size in enumerate(shape)
    )
    told = isinstance(time, (tuple, list))
    return [
        _given(part, name, shapes[name], axis, moving or told, told and axis is None)
        for name, axis in zip(part.inputs, axes, strict=True)
    ]


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _dimensions(part: Part, name: str) -> list[int | str]:
    """Sizes of an input; a name, or "?", of one that may differ."""
    info = part.infos.get(name)
    if info is not None and info.tensor_type.HasField("shape"):
        dims = info.tensor_type.shape.dim
        found: list[int | str] = [
            d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in dims
        ]
    else:
        found = ["?", "?", "?"]
    channels = _channels_of_readers(part, name)
    if channels is None and info is None:
        raise ValueError(
            f"the file does not tell the shape of {name!r}; give a name in inputs whose shape it "
            "tells, or add it with onnx.shape_inference"
        )
    if channels is not None and len(found) == 3 and isinstance(found[1], str):
        found[1] = channels
    return found


def _channels_of_readers(part: Part, name: str) -> int | None:
    """The channels that a convolution which reads the value takes."""
    for node in part.nodes:
        if node.op_type in _CONVOLUTIONS and node.input[0] == name:
            weight = part.constants.get(node.input[1])
            if weight is not None:
                groups = next((a.i for a in node.attribute if a.name == "group"), 1)
                axis = _CONVOLUTIONS[node.op_type]
                return int(weight.shape[axis]) * (groups if axis else 1)
    return None


def _given(
    part: Part, name: str, dims: Sequence[int | str], time: int | None, moving: bool, untimed: bool
) -> Given:
    rank = len(dims)
    if time is not None:
        if not -rank <= time < rank:
            raise ValueError(f"time must be an axis of {name!r}, which has {rank}, got {time}")
        time %= rank
    else:
        time = None if untimed and rank == 1 else _time(name, dims, moving)
    free = isinstance(dims[0], str) or (dims[0] == 1 and rank > 1) if rank else False
    batch = 0 if free and time != 0 else None
    sizes = [size if isinstance(size, int) else None for size in dims]
    for axis, size in enumerate(dims):
        if isinstance(size, str) and axis not in (time, batch):
            raise ValueError(
                f"the axes of {name!r} that may differ are {_shown(dims)}: which one is time? "
                "Say it with time="
            )
    per_clock, symbol = (0, "") if time is None else _proportion(dims[time])
    sizes = [None if axis in (time, batch) else size for axis, size in enumerate(sizes)]
    return Given(name, tuple(sizes), time, batch, per_clock, symbol, _dtype(part, name))


def _time(name: str, dims: Sequence[int | str], moving: bool) -> int | None:
    """The axis that may differ, beside that of the batch; the last one where none does."""
    may = [axis for axis, size in enumerate(dims) if isinstance(size, str)]
    if len(dims) > 1 and 0 in may and (len(may) > 1 or moving):
        may.remove(0)
    if len(may) > 1:
        raise ValueError(
            f"the axes of {name!r} that may differ are {_shown(dims)}: which one is time? Say it "
            "with time="
        )
    if may:
        return may[0]
    return None if moving or len(dims) < 2 else len(dims) - 1


def _shown(dims: Sequence[int | str]) -> str:
    return ", ".join(f"{axis} ({d})" for axis, d in enumerate(dims) if isinstance(d, str))


def _proportion(size: int | str) -> tuple[int, str]:
    """The factor and the name in a size such as ``"256*frames"``."""
    found = re.fullmatch(r"\s*(?:(\d+)\s*\*\s*(\w+)|(\w+)\s*\*\s*(\d+))\s*", str(size))
    if found is None:
        return 1, str(size)
    return int(found[1] or found[4]), found[2] or found[3]


def _dtype(part: Part, name: str) -> str:
    info = part.infos.get(name)
    kind = info.tensor_type.elem_type if info is not None else onnx.TensorProto.FLOAT
    if kind in (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.UNDEFINED):
        return "float32"
    return str(helper.tensor_dtype_to_np_dtype(kind).name)
