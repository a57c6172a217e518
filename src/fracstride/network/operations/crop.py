"""Crops of time: positions left out at both ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from fracstride.arrays import Array
from fracstride.network.extent import Extent
from fracstride.network.operation import Operation
from fracstride.network.part import Part
from fracstride.network.value import Shape, Value

__all__ = ["Crop"]


@dataclass(frozen=True)
class Crop(Operation):
    """Without the first ``left`` positions and the last ``right``.

    Args:
        left: positions left out before.
        right: positions left out behind.
        extent: how long the result is, where ``right`` differs from length to length.
    """

    left: int = 0
    right: int = 0
    extent: Extent | None = None

    is_view = True
    takes_codes = True

    @property
    def details(self) -> str:
        return f"{self.left}, {self.right if self.extent is None else 'to fit'}"

    def result(self, *inputs: Value) -> Shape:
        (x,) = inputs
        if min(self.left, self.right) < 0:
            raise ValueError(f"no such crop: {self.left}, {self.right}")
        if self.extent is not None:
            return Shape(x.channels, self.extent, x.is_codes)
        shorter = x.extent.then(lambda length: length - self.left - self.right)
        return Shape(x.channels, shorter, x.is_codes)

    def delay(self, *inputs: Value) -> Fraction | None:
        rate = inputs[0].rate
        return self.left / rate if rate else Fraction(0)

    def view(self, x: Array, length: int) -> Array:
        return x[:, :, self.left : self.left + length]

    def known(self, known: Sequence[int], inputs: Sequence[Value]) -> int:
        return known[0] - self.left

    def needed(self, position: int, known: Sequence[int], inputs: Sequence[Value]) -> Sequence[int]:
        return [position + self.left]

    def view_part(self, x: Part) -> Part:
        x = x.since(min(self.left, x.stop))
        return Part(x.array, max(x.start - self.left, 0), x.ends)
