"""ELU."""

from __future__ import annotations

from dataclasses import dataclass

from fracstride.network.elementwise import Elementwise
from fracstride.network.pointwise import Operand, Program, Register
from fracstride.network.reading import Reader

__all__ = ["ELU"]


@dataclass(frozen=True)
class ELU(Elementwise):
    """``x`` where it is positive, else ``alpha*(e**x - 1)``."""

    alpha: float = 1.0

    torch = ("elu",)
    onnx = ("Elu",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        return program.add("elu", *inputs, numbers=(self.alpha,))

    @classmethod
    def of_torch(cls, call: Reader) -> ELU:
        for name in ("scale", "input_scale"):
            call.check(call.number(name, 1) == 1, f"{name} must be 1")
        return cls(call.number("alpha", 1))

    @classmethod
    def of_onnx(cls, call: Reader) -> ELU:
        return cls(call.number("alpha", 1))
