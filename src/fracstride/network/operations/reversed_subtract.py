"""``b - a``: torch's operator for a number less a tensor."""

from __future__ import annotations

from fracstride.network.operations.arithmetic import Arithmetic
from fracstride.network.pointwise import Operand, Program, Register

__all__ = ["ReversedSubtract"]


class ReversedSubtract(Arithmetic):
    """``b - a``."""

    torch = ("rsub",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        a, b = inputs
        return program.add("subtract", b, a)
