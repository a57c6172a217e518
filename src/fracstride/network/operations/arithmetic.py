"""Sums, differences, products and quotients of signals, constants and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fracstride.network.elementwise import Elementwise
from fracstride.network.pointwise import Operand, Program, Register
from fracstride.network.reading import Reader

__all__ = [
    "Add",
    "Arithmetic",
    "Divide",
    "Maximum",
    "Mean",
    "Minimum",
    "Multiply",
    "Subtract",
    "Sum",
]


@dataclass(frozen=True)
class Arithmetic(Elementwise):
    """One instruction of two operands."""

    instruction: ClassVar[str]
    torch_inputs = ("self", "other")
    onnx_inputs: ClassVar[tuple[str, ...]] = ("A", "B")

    def emit(self, program: Program, *inputs: Operand) -> Register:
        return program.add(self.instruction, *inputs)

    @classmethod
    def of_torch(cls, call: Reader) -> Elementwise:
        alpha = call.number("alpha", 1)
        call.check(alpha == 1, f"alpha must be 1, got {alpha}")
        rounding = call.argument("rounding_mode")
        call.check(rounding is None, f"rounding_mode must be None, got {rounding!r}")
        return cls()


class Add(Arithmetic):
    """``a + b``."""

    instruction, torch = "add", ("add",)
    onnx = ("Add",)


class Subtract(Arithmetic):
    """``a - b``."""

    instruction, torch = "subtract", ("sub", "subtract")
    onnx = ("Sub",)


class Multiply(Arithmetic):
    """``a * b``."""

    instruction, torch = "multiply", ("mul", "multiply")
    onnx = ("Mul",)


class Divide(Arithmetic):
    """``a / b``."""

    instruction, torch = "divide", ("div", "divide", "true_divide")
    onnx = ("Div",)


class _OfSeveral(Arithmetic):
    """One that ONNX has for any number of operands, and that takes them one after the other."""

    onnx_inputs = ("data_0",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        if len(inputs) == 1:
            return program.add("copy", *inputs)
        result = program.add(self.instruction, *inputs[:2])
        for other in inputs[2:]:
            result = program.add(self.instruction, result, other)
        return result


class Maximum(_OfSeveral):
    """The larger of both."""

    instruction, torch = "maximum", ("maximum",)
    onnx = ("Max",)


class Minimum(_OfSeveral):
    """The smaller of both."""

    instruction, torch = "minimum", ("minimum",)
    onnx = ("Min",)


class Sum(_OfSeveral):
    """The sum of several."""

    instruction = "add"
    onnx = ("Sum",)


class Mean(Sum):
    """The mean of several."""

    onnx = ("Mean",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        return program.add("divide", super().emit(program, *inputs), float(len(inputs)))
