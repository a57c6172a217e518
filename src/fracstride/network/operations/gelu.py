"""GELU, by the error function or by its approximation with tanh."""

from __future__ import annotations

from dataclasses import dataclass

from fracstride.network.elementwise import Elementwise
from fracstride.network.pointwise import Operand, Program, Register
from fracstride.network.reading import Reader

__all__ = ["GELU"]


@dataclass(frozen=True)
class GELU(Elementwise):
    """``x`` times the normal distribution function of ``x``; ``approximate`` as in torch."""

    approximate: str = "none"

    torch = ("gelu",)
    onnx = ("Gelu",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        return program.add("gelu_tanh" if self.approximate == "tanh" else "gelu", *inputs)

    @classmethod
    def of_torch(cls, call: Reader) -> GELU:
        return cls(call.argument("approximate", "none"))

    of_onnx = of_torch
