"""The example inputs of a module: what is fixed in them, and inputs like them of other sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fracstride.arguments import as_size
from fracstride.network.recording import Conditions, Input

__all__ = ["VALUES", "Example", "Layout", "check_plain"]

#: Kinds of values that inputs are made of.
VALUES = ("own", "normal", "other", "large", "small", "zeros", "constant")
_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
_DTYPES = "float32, float64, float16, bfloat16 or an integer type"
_FACTORS = {"large": 8.0, "small": 1e-3}


@dataclass(frozen=True)
class Layout:
    """What is known about one input.

    Args:
        name: in messages.
        sizes: of the example.
        dtype: of the example.
        time: its axis of time, or None.
        per_clock: positions along it for each tick of the clock.
        batched: whether its axis 0 is a batch, of any size.
        codes: the least and the greatest number that it is drawn from, if it holds integers.
    """

    name: str
    sizes: tuple[int, ...]
    dtype: torch.dtype
    time: int | None
    per_clock: int
    batched: bool
    codes: tuple[int, int] = (0, 0)

    def shape(self, conditions: Conditions) -> tuple[int, ...]:
        """Sizes under these conditions."""
        sizes = list(self.sizes)
        if self.time is not None:
            sizes[self.time] = self.per_clock * conditions.clock
        if self.batched:
            sizes[0] = conditions.batch
        return tuple(sizes)

    def described(self) -> str:
        """The shapes that it takes, in words: ``(B, 80, 4*T)``."""
        sizes = [str(size) for size in self.sizes]
        if self.time is not None:
            sizes[self.time] = "T" if self.per_clock == 1 else f"{self.per_clock}*T"
        if self.batched:
            sizes[0] = "B"
        return f"({', '.join(sizes)}{',' * (len(sizes) == 1)})"


@dataclass(frozen=True)
class Example:
    """Example inputs, checked.

    Args:
        tensors: as the user gave them.
        layouts: one for each.
        conditions: ticks and rows of the example itself.
    """

    tensors: tuple[Tensor, ...]
    layouts: tuple[Layout, ...]
    conditions: Conditions

    @classmethod
    def of(cls, tensors: Sequence[Any], time: Any) -> Example:
        """Checks what the user gave.

        Raises:
            TypeError, ValueError: an example or ``time`` is not what it must be.
        """
        if not tensors:
            raise ValueError("example must hold what the module is called with, got nothing")
        for place, tensor in enumerate(tensors):
            check_plain(_name(place, tensors), tensor)
        axes = _axes(tensors, time)
        lengths = [t.shape[axis] for t, axis in zip(tensors, axes, strict=True) if axis is not None]
        clock = math.gcd(*lengths)
        tick = [n // clock for n in lengths]
        layouts = []
        for place, (tensor, axis) in enumerate(zip(tensors, axes, strict=True)):
            per_clock = 0 if axis is None else tick.pop(0)
            name, sizes = _name(place, tensors), tuple(tensor.shape)
            codes = _codes(tensor)
            layouts.append(Layout(name, sizes, tensor.dtype, axis, per_clock, False, codes))
        return cls(tuple(tensors), tuple(layouts), Conditions(clock, 1))

    def with_tick(self, ticks: int) -> Example:
        """The same with a clock that ticks once for so many ticks of this one."""
        layouts = tuple(
            replace(layout, per_clock=layout.per_clock * ticks) for layout in self.layouts
        )
        conditions = replace(self.conditions, clock=self.conditions.clock // ticks)
        return Example(self.tensors, layouts, conditions)

    def with_codes(self, place: int, highest: int) -> Example:
        """The same with codes up to another one for an input of integers."""
        layouts = list(self.layouts)
        layouts[place] = replace(layouts[place], codes=(layouts[place].codes[0], highest))
        return replace(self, layouts=tuple(layouts))

    # --- the batch ------------------------------------------------------------------------------

    def batches(self) -> list[tuple[int, ...]]:
        """Which inputs may have a batch as their axis 0, likely ones first."""
        able = [
            place for place, layout in enumerate(self.layouts) if layout.sizes and layout.time != 0
        ]
        timed = [place for place in able if self.layouts[place].time is not None]
        ways = [tuple(able)]
        for without in range(len(able)):  # one without a batch: a scale, a table
            if able[without] not in timed:
                ways.append(tuple(able[:without] + able[without + 1 :]))
        ways.append(tuple(timed))
        return [
            way
            for way in dict.fromkeys(ways)
            if way and len({self.layouts[place].sizes[0] for place in way}) == 1
        ]

    def with_batch(self, places: Sequence[int]) -> Example:
        """The same with a batch as axis 0 of these inputs."""
        layouts = tuple(
            replace(layout, batched=place in places) for place, layout in enumerate(self.layouts)
        )
        rows = self.layouts[places[0]].sizes[0] if places else 1
        return Example(self.tensors, layouts, Conditions(self.conditions.clock, rows))

    def astype(self, dtype: torch.dtype) -> Example:
        """The same with floats of another dtype."""
        layouts = tuple(
            replace(layout, dtype=dtype) if layout.dtype.is_floating_point else layout
            for layout in self.layouts
        )
        return replace(self, layouts=layouts)

    @property
    def batched(self) -> bool:
        """Whether any input has a batch."""
        return any(layout.batched for layout in self.layouts)

    def inputs(self) -> tuple[Input, ...]:
        """The inputs of a recording."""
        return tuple(
            Input(place, layout.time, 0 if layout.batched else None, layout.per_clock)
            for place, layout in enumerate(self.layouts)
        )

    # --- values ---------------------------------------------------------------------------------

    def make(self, conditions: Conditions, values: str, seed: int = 0) -> list[Tensor]:
        """New inputs with values of a kind, the same ones for the same arguments."""
        generator = torch.Generator().manual_seed(2 * seed + 1)
        return [
            _values(tensor, layout, layout.shape(conditions), values, generator)
            for tensor, layout in zip(self.tensors, self.layouts, strict=True)
        ]


def check_plain(name: str, tensor: Any) -> None:
    """Whether a tensor is one that a network can take.

    Raises:
        TypeError, ValueError: it is not, with what would be right.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(tensor).__name__}")
    if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        raise TypeError(f"{name} must be an ordinary tensor, got a {type(tensor).__name__}")
    if tensor.dtype not in _FLOATS + _INTEGERS:
        raise TypeError(f"{name} must have the dtype {_DTYPES}, got {tensor.dtype}")
    if tensor.device.type != "cpu":
        raise ValueError(f"{name} must be on the CPU, got a tensor on {tensor.device}")
    if tensor.layout != torch.strided:
        raise TypeError(f"{name} must be dense, got a tensor of layout {tensor.layout}")


def _name(place: int, tensors: Sequence[Any]) -> str:
    return "example" if len(tensors) == 1 else f"example {place}"


def _axes(tensors: Sequence[Tensor], time: Any) -> list[int | None]:
    """The axis of time of each example, from the front."""
    if isinstance(time, (tuple, list)):
        if len(time) != len(tensors):
            raise ValueError(
                f"time must have one entry for each of the {len(tensors)} examples, got {time}"
            )
        given = list(time)
    else:
        given = [time] * len(tensors)
    axes: list[int | None] = []
    for place, (tensor, axis) in enumerate(zip(tensors, given, strict=True)):
        if axis is None:
            axes.append(None)
            continue
        name, rank = _name(place, tensors), tensor.dim()
        number = as_size("time", axis, -rank)
        if number >= rank:
            raise ValueError(f"time must be an axis of {name}, {-rank} to {rank - 1}, got {axis}")
        axes.append(number % rank)
    for place, tensor in enumerate(tensors):
        if 0 in tensor.shape:
            shape = tuple(tensor.shape)
            raise ValueError(f"{_name(place, tensors)} must not be empty, got shape {shape}")
    if all(axis is None for axis in axes):
        raise ValueError(f"time must name the axis of time of at least one example, got {time}")
    return axes


def _scale(tensor: Tensor) -> float:
    """The root of the mean square of an example; 1 where that is no use."""
    square = float(tensor.double().square().mean())
    return math.sqrt(square) if math.isfinite(square) and square > 0 else 1.0


def _codes(tensor: Tensor) -> tuple[int, int]:
    if tensor.dtype.is_floating_point:
        return 0, 0
    return min(0, int(tensor.min())), int(tensor.max())


def _values(
    tensor: Tensor,
    layout: Layout,
    shape: tuple[int, ...],
    values: str,
    generator: torch.Generator,
) -> Tensor:
    """A tensor like an example."""
    tensor = tensor.detach()
    if values == "own":
        for axis, size in enumerate(shape):
            if size != tensor.shape[axis]:
                tensor = tensor.index_select(axis, torch.arange(size) % tensor.shape[axis])
        return tensor.resolve_conj().clone(memory_format=torch.contiguous_format)
    if not tensor.dtype.is_floating_point:
        low, high = layout.codes
        if values in ("zeros", "constant"):
            code = max(low, 0) if values == "zeros" else high
            return torch.full(shape, code, dtype=tensor.dtype)
        numbers = torch.randint(low, high + 1, shape, generator=generator, dtype=torch.int64)
        return numbers.to(tensor.dtype)
    scale = _scale(tensor)
    if values in ("zeros", "constant"):
        number = 0.0 if values == "zeros" else 0.75 * scale
        return torch.full(shape, number, dtype=tensor.dtype)
    numbers = torch.randn(shape, generator=generator, dtype=torch.float64)
    return (numbers * (scale * _FACTORS.get(values, 1.0))).to(tensor.dtype)
