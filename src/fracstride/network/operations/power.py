"""Powers with a constant exponent."""

from __future__ import annotations

from dataclasses import dataclass

from fracstride.network.elementwise import Elementwise
from fracstride.network.pointwise import Operand, Program, Register
from fracstride.network.reading import Reader

__all__ = ["Power"]


@dataclass(frozen=True)
class Power(Elementwise):
    """``x**exponent``."""

    exponent: float = 2.0

    torch = ("pow",)
    onnx = ("Pow",)

    @property
    def details(self) -> str:
        return f"{self.exponent:g}"

    def emit(self, program: Program, *inputs: Operand) -> Register:
        if self.exponent == 2:
            return program.add("square", *inputs)
        return program.add("power", *inputs, self.exponent)

    @classmethod
    def of_torch(cls, call: Reader) -> Power:
        return cls(call.number("exponent"))

    @classmethod
    def of_onnx(cls, call: Reader) -> Power:
        return cls(call.number("Y"))
