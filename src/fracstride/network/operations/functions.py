"""Functions of one number that have no parameters."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import ClassVar

from fracstride.network.elementwise import Elementwise
from fracstride.network.pointwise import Operand, Program, Register

__all__ = [
    "Absolute",
    "Cos",
    "Erf",
    "Exp",
    "Expm1",
    "Function",
    "Log",
    "Log1p",
    "Log2",
    "Log10",
    "Mish",
    "Negative",
    "ReLU",
    "Reciprocal",
    "Rsqrt",
    "SiLU",
    "Sigmoid",
    "Sin",
    "Softsign",
    "Sqrt",
    "Square",
    "Tanh",
]


@dataclass(frozen=True)
class Function(Elementwise):
    """One instruction of one operand."""

    instruction: ClassVar[str]

    def emit(self, program: Program, *inputs: Operand) -> Register:
        return program.add(self.instruction, *inputs)


class Absolute(Function):
    """``|x|``."""

    instruction, torch = "absolute", ("abs", "absolute")
    onnx = ("Abs",)


class Cos(Function):
    """The cosine."""

    instruction, torch = "cos", ("cos",)
    onnx = ("Cos",)
    onnx_inputs = ("input",)


class Erf(Function):
    """The error function."""

    instruction, torch = "erf", ("erf",)
    onnx = ("Erf",)
    onnx_inputs = ("input",)


class Exp(Function):
    """``e**x``."""

    instruction, torch = "exp", ("exp",)
    onnx = ("Exp",)
    onnx_inputs = ("input",)


class Expm1(Function):
    """``e**x - 1``."""

    instruction, torch = "expm1", ("expm1",)


class Log(Function):
    """The natural logarithm."""

    instruction, torch = "log", ("log",)
    onnx = ("Log",)
    onnx_inputs = ("input",)


class Log10(Function):
    """The logarithm to base 10."""

    torch = ("log10",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        return program.add("multiply", program.add("log", *inputs), 1 / log(10))


class Log2(Function):
    """The logarithm to base 2."""

    torch = ("log2",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        return program.add("multiply", program.add("log", *inputs), 1 / log(2))


class Log1p(Function):
    """The natural logarithm of ``1 + x``."""

    instruction, torch = "log1p", ("log1p",)


class Mish(Function):
    """``x*tanh(log(1 + e**x))``."""

    torch = ("mish",)
    onnx = ("Mish",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        line = program.add("softplus", *inputs, numbers=(1.0, 20.0))
        return program.add("multiply", *inputs, program.add("tanh", line))


class Negative(Function):
    """``-x``."""

    instruction, torch = "negative", ("neg", "negative")
    onnx = ("Neg",)


class Reciprocal(Function):
    """``1/x``."""

    instruction, torch = "reciprocal", ("reciprocal",)
    onnx = ("Reciprocal",)


class ReLU(Function):
    """``x`` where it is positive, else 0."""

    instruction, torch = "relu", ("relu",)
    onnx = ("Relu",)


class Rsqrt(Function):
    """``1/sqrt(x)``."""

    torch = ("rsqrt",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        return program.add("reciprocal", program.add("sqrt", *inputs))


class Sigmoid(Function):
    """``1/(1 + e**-x)``."""

    instruction, torch = "sigmoid", ("sigmoid",)
    onnx = ("Sigmoid",)


class SiLU(Function):
    """``x*sigmoid(x)``."""

    instruction, torch = "silu", ("silu",)


class Sin(Function):
    """The sine."""

    instruction, torch = "sin", ("sin",)
    onnx = ("Sin",)
    onnx_inputs = ("input",)


class Softsign(Function):
    """``x/(1 + |x|)``."""

    onnx = ("Softsign",)
    onnx_inputs = ("input",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        size = program.add("add", program.add("absolute", *inputs), 1.0)
        return program.add("divide", *inputs, size)


class Sqrt(Function):
    """The square root."""

    instruction, torch = "sqrt", ("sqrt",)
    onnx = ("Sqrt",)


class Square(Function):
    """``x*x``."""

    instruction, torch = "square", ("square",)


class Tanh(Function):
    """The hyperbolic tangent."""

    instruction, torch = "tanh", ("tanh",)
    onnx = ("Tanh",)
    onnx_inputs = ("input",)
