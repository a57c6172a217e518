"""Pads of time: positions added at both ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fracstride.arrays import Array
from fracstride.extension import MODES, source_frame
from fracstride.network.operation import Operation
from fracstride.network.value import Shape, Value

__all__ = ["Pad"]


@dataclass(frozen=True)
class Pad(Operation):
    """``left`` and ``right`` positions more, and on the right what a multiple needs.

    Args:
        left: positions before the first.
        right: positions behind the last.
        mode: a padding mode: what they hold.
        number: what they hold with ``"zeros"``, if not 0.
        multiple: the input is extended on the right to ``multiple*n + rest`` positions first.
        rest: see there.
    """

    left: int = 0
    right: int = 0
    mode: str = "zeros"
    number: float = 0.0
    multiple: int = 1
    rest: int = 0

    @property
    def details(self) -> str:
        return f"{self.left}, {self.right} {self.mode}"

    def added(self, length: int) -> int:
        """Positions added to so many."""
        return self.left + self.right + (self.rest - length) % self.multiple

    def result(self, *inputs: Value) -> Shape:
        (x,) = inputs
        return Shape(
            x.channels, x.extent.then(lambda length: length + self.added(length), self.multiple)
        )

    def compute(self, inputs: Sequence[Array], out: Array | None) -> Any:
        (x,) = inputs
        assert out is not None
        left, length = self.left, x.shape[2]
        end = left + length
        out[:, :, left:end] = x
        if MODES[self.mode].source(-1, length) is None:
            out[:, :, :left] = out[:, :, end:] = self.number
            return
        for outside in (range(left), range(end, out.shape[2])):
            sources = np.array([source_frame(n - left, length, self.mode) for n in outside], int)
            out[:, :, outside.start : outside.stop] = x[:, :, sources]
