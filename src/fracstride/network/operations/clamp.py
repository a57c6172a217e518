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

    torch = ("clamp", "clamp_min", "clamp_max", "clip", "hardtanh", "relu6")
    onnx = ("Clip",)
    onnx_inputs = ("input",)

    @property
    def details(self) -> str:
        return f"{self.low:g} to {self.high:g}"

    def emit(self, program: Program, *inputs: Operand) -> Register:
        return program.add("clamp", *inputs, numbers=(self.low, self.high))

    @classmethod
    def of_torch(cls, call: Reader) -> Clamp:
        if call.operator == "relu6":
            return cls(0, 6)
        if call.operator == "hardtanh":
            return cls(call.number("min_val", -1), call.number("max_val", 1))
        return cls.of_onnx(call)

    @classmethod
    def of_onnx(cls, call: Reader) -> Clamp:
        return cls(call.number("min", -inf), call.number("max", inf))
