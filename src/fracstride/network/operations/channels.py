"""Channels of a signal: slices, flips, and any other order of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fracstride.arrays import Array
from fracstride.network.operation import Operation
from fracstride.network.steps import Steps, copy
from fracstride.network.value import Shape, Value

__all__ = ["Channels"]


@dataclass(frozen=True)
class Channels(Operation):
    """Channel ``c`` of the result is channel ``indices[c]`` of the input."""

    indices: tuple[int, ...]

    takes_codes = True

    @property
    def details(self) -> str:
        steps = set(np.diff(self.indices).tolist())
        if len(steps) > 1:
            return f"{len(self.indices)} in another order"
        return f"{self.indices[0]} to {self.indices[-1]}"

    @cached_property
    def is_view(self) -> bool:  # type: ignore[override]
        """Channels at equal steps are where they are."""
        return len(set(np.diff(self.indices).tolist())) <= 1

    def result(self, *inputs: Value) -> Shape:
        (x,) = inputs
        if not self.indices or not 0 <= min(self.indices) <= max(self.indices) < x.channels:
            raise ValueError(f"no such channels in a signal of {x.channels}: {self.indices}")
        return Shape(len(self.indices), x.extent, x.is_codes)

    def bind(self, inputs: Sequence[Array], out: Array) -> Callable[[], object]:
        steps = Steps()
        breaks = np.flatnonzero(np.diff(self.indices) != 1) + 1
        for run in np.split(np.arange(len(self.indices)), breaks):
            first, count = self.indices[run[0]], len(run)
            target = out[:, run[0] : run[0] + count]
            steps.add(copy(target, inputs[0][:, first : first + count]))
        return steps

    def view(self, x: Array, length: int) -> Array:
        first, *rest = self.indices
        step = rest[0] - first if rest else 1
        if step == 0:
            return np.broadcast_to(x[:, first : first + 1], (len(x), len(self.indices), length))
        last = self.indices[-1] + step
        return x[:, first : None if last < 0 else last : step]
