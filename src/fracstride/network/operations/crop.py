"""Crops of time: positions left out at both ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fracstride.arrays import Array
from fracstride.network.operation import Operation
from fracstride.network.value import Shape, Value

__all__ = ["Crop"]


@dataclass(frozen=True)
class Crop(Operation):
    """Without the first ``left`` positions and the last ``right``."""

    left: int = 0
    right: int = 0

    is_view = True

    @property
    def details(self) -> str:
        return f"{self.left}, {self.right}"

    def result(self, *inputs: Value) -> Shape:
        (x,) = inputs
        return Shape(x.channels, x.extent.then(lambda length: length - self.left - self.right))

    def least_lengths(self) -> tuple[int, ...]:
        return (self.left + self.right + 1,)

    def compute(self, inputs: Sequence[Array], out: Array | None) -> Any:
        (x,) = inputs
        return x[:, :, self.left : x.shape[2] - self.right]
