"""Pads of time: positions added at both ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from fracstride.arrays import Array
from fracstride.extension import MODES, source_frame
from fracstride.network.extent import Extent
from fracstride.network.operation import Operation
from fracstride.network.value import Shape, Value

__all__ = ["Pad"]


@dataclass(frozen=True)
class Pad(Operation):
    """``left`` and ``right`` positions more.

    Args:
        left: positions before the first.
        right: positions behind the last.
        mode: a padding mode: what they hold.
        number: what they hold with ``"zeros"``, if not 0.
        extent: how long the result is, where ``right`` differs from length to length.
    """

    left: int = 0
    right: int = 0
    mode: str = "zeros"
    number: float = 0.0
    extent: Extent | None = None

    takes_codes = True

    @property
    def details(self) -> str:
        return f"{self.left}, {self.right if self.extent is None else 'to fit'} {self.mode}"

    def result(self, *inputs: Value) -> Shape:
        (x,) = inputs
        if self.mode not in MODES or min(self.left, self.right) < 0:
            raise ValueError(f"no such pad: {self.left}, {self.right}, {self.mode!r}")
        if self.extent is not None:
            return Shape(x.channels, self.extent, x.is_codes)
        longer = x.extent.then(lambda length: length + self.left + self.right)
        return Shape(x.channels, longer, x.is_codes)

    def accepts(self, length: int, result: int) -> bool:
        longest = max(self.left, result - length - self.left)
        return longest <= length - {"reflect": 1, "circular": 0}.get(self.mode, -longest)

    def delay(self, *inputs: Value) -> Fraction | None:
        rate = inputs[0].rate
        return -self.left / rate if rate else Fraction(0)

    def compute(self, inputs: Sequence[Array], out: Array) -> None:
        (x,) = inputs
        length = x.shape[2]
        end = self.left + length
        out[:, :, self.left : end] = x
        if MODES[self.mode].source(-1, length) is None:
            out[:, :, : self.left] = out[:, :, end:] = self.number
            return
        for outside in (range(self.left), range(end, out.shape[2])):
            sources = [source_frame(n - self.left, length, self.mode) for n in outside]
            out[:, :, outside.start : outside.stop] = x[:, :, np.array(sources, int)]
