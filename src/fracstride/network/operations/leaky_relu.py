"""Leaky ReLU, and PReLU with a slope for each channel."""

from __future__ import annotations

from dataclasses import dataclass

from fracstride.network.elementwise import Elementwise
from fracstride.network.pointwise import Operand, Program, Register
from fracstride.network.reading import Reader

__all__ = ["LeakyReLU", "PReLU"]


@dataclass(frozen=True)
class LeakyReLU(Elementwise):
    """``x`` where it is positive, else ``negative_slope*x``."""

    negative_slope: float = 0.01

    torch = ("leaky_relu",)
    onnx = ("LeakyRelu",)

    @property
    def details(self) -> str:
        return f"{self.negative_slope:g}"

    def emit(self, program: Program, *inputs: Operand) -> Register:
        return program.add("leaky_relu", *inputs, self.negative_slope)

    @classmethod
    def of_torch(cls, call: Reader) -> LeakyReLU:
        return cls(call.number("negative_slope", 0.01))

    @classmethod
    def of_onnx(cls, call: Reader) -> LeakyReLU:
        return cls(call.number("alpha", 0.01))


@dataclass(frozen=True)
class PReLU(Elementwise):
    """The same with a slope for each channel, the second input."""

    torch = ("prelu",)
    onnx = ("PRelu",)
    onnx_inputs = ("X", "slope")

    def emit(self, program: Program, *inputs: Operand) -> Register:
        return program.add("leaky_relu", *inputs)

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        x, slopes = call.signal("self", "BCT"), call.constant(call.weight("weight"))
        call.give(call.add(cls(), x, slopes), "BCT")
