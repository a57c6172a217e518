"""The angle of a point of the plane: the phase of a complex number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fracstride.arrays import Array
from fracstride.kernel_table import KERNELS
from fracstride.network.elementwise import broadcast
from fracstride.network.operation import Operation
from fracstride.network.reading import Reader
from fracstride.network.recording import Reference
from fracstride.network.value import Shape, Value

__all__ = ["Atan2"]


@dataclass(frozen=True)
class Atan2(Operation):
    """The angle of the point ``(x, y)``, given as y and x, from -pi to pi."""

    torch = ("atan2", "arctan2")

    def result(self, *inputs: Value) -> Shape:
        return broadcast(self.name, *inputs)

    def bind(self, inputs: Sequence[Array], out: Array) -> Callable[[], object]:
        y, x = inputs
        sums = np.dtype(KERNELS[out.dtype.name].sums)

        def run() -> None:
            # Contiguous copies: NumPy may compute a strided array in another way, with other bits.
            points = (
                np.array(np.broadcast_to(part, out.shape), sums, order="C") for part in (y, x)
            )
            out[...] = np.arctan2(*points)

        return run

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        for name in ("self", "other"):
            call.check(isinstance(call.argument(name), Reference), f"{name} is a constant")
        call.elementwise(cls(), "self", "other")
