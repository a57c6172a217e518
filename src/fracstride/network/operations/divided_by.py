"""Division by a count, which is never folded into a weight."""

from __future__ import annotations

from dataclasses import dataclass

from fracstride.network.elementwise import Elementwise
from fracstride.network.pointwise import Operand, Program, Register

__all__ = ["DividedBy"]


@dataclass(frozen=True)
class DividedBy(Elementwise):
    """``x / count``: the mean of equal numbers, for which ``x`` is their sum, is that number."""

    count: int = 1

    @property
    def details(self) -> str:
        return str(self.count)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        return program.add("divide", *inputs, float(self.count))
