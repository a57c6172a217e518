"""Envelopes: a signal divided by, or times, a constant that is periodic but near the ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from fracstride.arrays import Array
from fracstride.kernel_table import KERNELS
from fracstride.network.operation import Operation
from fracstride.network.part import Part
from fracstride.network.periodic import Periodic
from fracstride.network.value import Shape, Value

__all__ = ["DividedByEnvelope", "TimesEnvelope"]


@dataclass(frozen=True, eq=False)
class _Envelope(Operation):
    """A signal with each position multiplied or divided by a number, all channels alike.

    Args:
        period: numbers that repeat themselves, as all of these in float64.
        start: what is added to them at the first positions.
        end: what is added to them at the last positions.
        ahead: positions that must follow one before it is known that it is not near the end. 0
            behind a transposed convolution that gives no position as early as that.
    """

    period: Array
    start: Array
    end: Array
    ahead: int = 0

    in_place = True

    @classmethod
    def of(cls, numbers: Periodic, ahead: int = 0) -> _Envelope:
        """The operation with these numbers."""
        return cls(numbers.period, numbers.start, numbers.end, ahead)

    @property
    def details(self) -> str:
        return f"period {len(self.period)}, ends {len(self.start)}, {len(self.end)}"

    def result(self, *inputs: Value) -> Shape:
        (x,) = inputs
        arrays = (self.period, self.start, self.end)
        if any(a.ndim != 1 or a.dtype != np.float64 for a in arrays) or not self.period.size:
            raise ValueError("an envelope must be one row of float64, and its period not empty")
        if not 0 <= self.ahead <= self.end.size:
            raise ValueError(f"ahead must be 0 to {self.end.size}, got {self.ahead}")
        return Shape(x.channels, x.extent)

    def delay(self, *inputs: Value) -> Fraction | None:
        rate = inputs[0].rate
        return self.ahead / rate if rate else Fraction(0)

    @property
    def stride(self) -> int:
        # Its numbers repeat themselves after so many positions.
        return len(self.period)

    @property
    def edge(self) -> int:
        return len(self.start)

    def known(self, known: Sequence[int], inputs: Sequence[Value]) -> int:
        return known[0] - self.ahead

    def bind_part(
        self, inputs: Sequence[Part], out: Part, state: Array | None
    ) -> Callable[[], object]:
        (x,) = inputs
        numbers = self.numbers.values(out.start, out.stop, x.stop if x.ends else None)
        part = x.between(out.start, out.stop)
        return lambda: self.apply(part, numbers, out.array)

    @cached_property
    def numbers(self) -> Periodic:
        """The number of each position, for any length and any stretch of it."""
        return Periodic(self.period, self.start, self.end)

    def bind(self, inputs: Sequence[Array], out: Array) -> Callable[[], object]:
        (x,) = inputs
        length = x.shape[2]
        numbers = self.numbers.values(0, length, length)
        return lambda: self.apply(x, numbers, out)

    def apply(self, x: Array, numbers: Array, out: Array) -> None:
        """Write the result for a stretch of the signal and the numbers of its positions."""
        sums = np.dtype(KERNELS[x.dtype.name].sums)
        with np.errstate(all="ignore"):
            out[...] = self.combined(x.astype(sums, copy=False), numbers.astype(sums))

    def combined(self, x: Array, numbers: Array) -> Array:
        """Both, position by position."""
        raise NotImplementedError


class DividedByEnvelope(_Envelope):
    """The signal divided by the numbers."""

    def combined(self, x: Array, numbers: Array) -> Array:
        return np.divide(x, numbers)


class TimesEnvelope(_Envelope):
    """The signal times the numbers."""

    def combined(self, x: Array, numbers: Array) -> Array:
        return np.multiply(x, numbers)
