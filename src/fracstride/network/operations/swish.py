"""Swish: SiLU with a factor."""

from __future__ import annotations

from dataclasses import dataclass

from fracstride.network.elementwise import Elementwise
from fracstride.network.pointwise import Operand, Program, Register
from fracstride.network.reading import Reader

__all__ = ["Swish"]


@dataclass(frozen=True)
class Swish(Elementwise):
    """``x*sigmoid(alpha*x)``."""

    alpha: float = 1.0

    onnx = ("Swish",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        if self.alpha == 1:
            return program.add("silu", *inputs)
        gate = program.add("sigmoid", program.add("multiply", *inputs, self.alpha))
        return program.add("multiply", *inputs, gate)

    @classmethod
    def of_onnx(cls, call: Reader) -> Swish:
        return cls(call.number("alpha", 1))
