"""Clamp: numbers beyond two bounds become the bounds."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from fracstride.network.elementwise import Elementwise
from fracstride.network.pointwise import Operand, Program, Register
from fracstride.network.reading import Reader

__all__ = ["Clamp"]


@dataclass(frozen=True)
class Clamp(Elementwise):
    """``min(max(x, low), high)``."""

    low: float = -inf
    high: float = inf

    torch = ("clamp", "clamp_min", "clamp_max", "clip")
    onnx = ("Clip",)
    onnx_inputs = ("input",)

    @property
    def details(self) -> str:
        return f"{self.low:g} to {self.high:g}"

    def emit(self, program: Program, *inputs: Operand) -> Register:
        return program.add("clamp", *inputs, numbers=(self.low, self.high))

    @classmethod
    def of_torch(cls, call: Reader) -> Clamp:
        return cls(call.number("min", -inf), call.number("max", inf))

    of_onnx = of_torch
