"""Softplus."""

from __future__ import annotations

from dataclasses import dataclass

from fracstride.network.elementwise import Elementwise
from fracstride.network.pointwise import Operand, Program, Register
from fracstride.network.reading import Reader

__all__ = ["Softplus"]


@dataclass(frozen=True)
class Softplus(Elementwise):
    """``log(1 + e**(beta*x))/beta``; ``x`` itself where ``beta*x`` exceeds ``threshold``."""

    beta: float = 1.0
    threshold: float = 20.0

    torch = ("softplus",)
    onnx = ("Softplus",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        return program.add("softplus", *inputs, numbers=(self.beta, self.threshold))

    @classmethod
    def of_torch(cls, call: Reader) -> Softplus:
        return cls(call.number("beta", 1), call.number("threshold", 20))
