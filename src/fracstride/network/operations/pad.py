"""Pads of time: positions added at both ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from fracstride.arrays import Array
from fracstride.extension import MODES, source_frame
from fracstride.network.extent import Extent
from fracstride.network.operation import Operation
from fracstride.network.part import Part
from fracstride.network.steps import copy
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

    def obstacle(self, *inputs: Value) -> str:
        mode = MODES[self.mode]
        return "" if mode.streams else f"pads {mode.name!r}: {mode.obstacle}"

    def known(self, known: Sequence[int], inputs: Sequence[Value]) -> int:
        mirrored = MODES[self.mode].mirrored(self.left)
        return known[0] + self.left if known[0] > mirrored else 0

    def needed(self, position: int, known: Sequence[int], inputs: Sequence[Value]) -> Sequence[int]:
        right = self.right
        if self.extent is not None:
            right = inputs[0].extent.most_to(self.extent) - self.left
        if right <= 0:
            return [position - self.left]
        return [min(position - self.left, known[0] - 1 - MODES[self.mode].mirrored(right))]

    def bind_part(
        self, inputs: Sequence[Part], out: Part, state: Array | None
    ) -> Callable[[], object]:
        (x,) = inputs
        start, stop = out.start - self.left, out.stop - self.left
        if start >= 0 and stop <= x.stop:
            return copy(out.array, x.between(start, stop))
        return lambda: self._fill(x, out)

    def compute(self, inputs: Sequence[Array], out: Array) -> None:
        self._fill(Part(inputs[0], 0, ends=True), Part(out, 0))

    def _fill(self, x: Part, out: Part) -> None:
        """Write some positions of the result."""
        start, stop = out.start - self.left, out.stop - self.left
        # Inside the input there is one place to read from; outside it, what the mode says.
        inside = max(start, 0), min(stop, x.stop)
        if inside[0] < inside[1]:
            out.array[:, :, inside[0] - start : inside[1] - start] = x.between(*inside)
        for first, after in ((start, min(stop, 0)), (max(start, x.stop), stop)):
            if first >= after:
                continue
            target = out.array[:, :, first - start : after - start]
            if MODES[self.mode].source(-1, x.stop) is None:
                target[...] = self.number
                continue
            sources = [source_frame(n, x.stop, self.mode) for n in range(first, after)]
            target[...] = x.array[:, :, np.array(sources, int) - x.start]
