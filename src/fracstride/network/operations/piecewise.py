"""Functions that are lines with bends: hard sigmoid and swish, thresholds, shrinking."""

from __future__ import annotations

from dataclasses import dataclass

from fracstride.network.elementwise import Elementwise
from fracstride.network.operations.choices import chosen, greater
from fracstride.network.pointwise import Operand, Program, Register
from fracstride.network.reading import Reader

__all__ = ["HardShrink", "HardSigmoid", "HardSwish", "SoftShrink", "Threshold"]


@dataclass(frozen=True)
class HardSigmoid(Elementwise):
    """``alpha*x + beta`` between 0 and 1."""

    alpha: float = 0.2
    beta: float = 0.5

    torch = ("hardsigmoid",)
    onnx = ("HardSigmoid",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        (x,) = inputs
        return _hard_sigmoid(program, x, self.alpha, self.beta)

    @classmethod
    def of_torch(cls, call: Reader) -> HardSigmoid:
        return cls(1 / 6, 0.5)

    @classmethod
    def of_onnx(cls, call: Reader) -> HardSigmoid:
        return cls(call.number("alpha", 0.2), call.number("beta", 0.5))


def _hard_sigmoid(program: Program, x: Operand, alpha: float, beta: float) -> Register:
    line = program.add("add", program.add("multiply", x, alpha), beta)
    return program.add("clamp", line, numbers=(0.0, 1.0))


@dataclass(frozen=True)
class HardSwish(Elementwise):
    """``x`` times its hard sigmoid."""

    torch = ("hardswish",)
    onnx = ("HardSwish",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        (x,) = inputs
        return program.add("multiply", x, _hard_sigmoid(program, x, 1 / 6, 0.5))


@dataclass(frozen=True)
class Threshold(Elementwise):
    """``x`` where it exceeds ``threshold``, else ``value``."""

    threshold: float = 1.0
    value: float = 0.0

    torch = ("threshold",)
    onnx = ("ThresholdedRelu",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        (x,) = inputs
        return chosen(program, greater(program, x, self.threshold), x, self.value)

    @classmethod
    def of_torch(cls, call: Reader) -> Threshold:
        return cls(call.number("threshold"), call.number("value"))

    @classmethod
    def of_onnx(cls, call: Reader) -> Threshold:
        return cls(call.number("alpha", 1))


@dataclass(frozen=True)
class HardShrink(Elementwise):
    """``x`` where it is further than ``reach`` from 0, else 0."""

    reach: float = 0.5

    torch = ("hardshrink",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        (x,) = inputs
        truth = greater(program, program.add("absolute", x), self.reach)
        return chosen(program, truth, x, 0.0)

    @classmethod
    def of_torch(cls, call: Reader) -> HardShrink:
        return cls(call.number("lambd", 0.5))


@dataclass(frozen=True)
class SoftShrink(Elementwise):
    """``x`` moved by ``reach`` towards 0, where it is no nearer than that; else 0."""

    reach: float = 0.5

    torch = ("softshrink",)
    onnx = ("Shrink",)
    onnx_inputs = ("input",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        near = program.add("clamp", *inputs, numbers=(-self.reach, self.reach))
        return program.add("subtract", *inputs, near)

    @classmethod
    def of_torch(cls, call: Reader) -> SoftShrink:
        return cls(call.number("lambd", 0.5))

    @classmethod
    def from_onnx(cls, call: Reader) -> None:
        """The operator of ONNX is the hard one if its bias is 0, the soft one if it is lambda."""
        reach, bias = call.number("lambd", 0.5), call.number("bias", 0)
        call.check(bias in (0, reach), f"bias must be 0 or lambd, got {bias}")
        kind = SoftShrink if bias else HardShrink
        call.elementwise(kind(reach), *cls.onnx_inputs)
