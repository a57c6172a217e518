"""Arithmetic of codes with whole numbers, and codes as numbers of floats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fracstride.arrays import Array
from fracstride.network.elementwise import broadcast
from fracstride.network.operation import Operation
from fracstride.network.reading import Reader
from fracstride.network.recording import Reference
from fracstride.network.value import Shape, Value, constant

__all__ = ["CodeArithmetic", "ToFloat"]


def _divide(codes: Array, numbers: Array, out: Array) -> None:
    """The quotient, rounded towards zero."""
    rounded = (np.remainder(codes, numbers) != 0) & ((codes < 0) != (numbers < 0))
    np.floor_divide(codes, numbers, out=out)
    out += rounded


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": _divide,
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
_OF_TORCH = {
    "add": "add",
    "sub": "subtract",
    "subtract": "subtract",
    "mul": "multiply",
    "multiply": "multiply",
    "div": "divide",
    "divide": "divide",
    "floor_divide": "floor_divide",
    "remainder": "remainder",
}
_OF_ONNX = {
    "Add": "add",
    "Sub": "subtract",
    "Mul": "multiply",
    "Div": "divide",
    "Mod": "remainder",
}


@dataclass(frozen=True)
class CodeArithmetic(Operation):
    """A whole number for each channel, or one for all, is added to codes, or divides them.

    Args:
        function: one of NumPy's (add, subtract, multiply, floor_divide, remainder, maximum,
            minimum), or divide, which rounds towards zero. The codes are its first operand.
        numbers: its second operand.
    """

    function: str
    numbers: tuple[int, ...]

    takes_codes = True
    in_place = True
    torch = (*_OF_TORCH, "clamp", "clamp_min", "clamp_max", "clip")
    onnx = (*_OF_ONNX, "Clip")

    @property
    def details(self) -> str:
        numbers = [str(number) for number in self.numbers]
        shown = numbers if len(numbers) < 4 else [*numbers[:2], "..."]
        return f"{self.function} {', '.join(shown)}"

    def result(self, *inputs: Value) -> Shape:
        (x,) = inputs
        if not x.is_codes:
            raise ValueError(f"{self.name} takes codes, got a signal of floats")
        if self.function not in _FUNCTIONS or any(abs(number) > 2**62 for number in self.numbers):
            raise ValueError(f"no such arithmetic of codes: {self.function} {self.numbers}")
        if self.function in ("divide", "floor_divide", "remainder") and 0 in self.numbers:
            raise ValueError("it divides codes by zero")
        shape = broadcast(self.name, x, constant(self.numbers))
        return Shape(shape.channels, shape.extent, codes=True)

    def compute(self, inputs: Sequence[Array], out: Array) -> None:
        numbers = np.array(self.numbers, out.dtype)[:, None]
        _FUNCTIONS[self.function](inputs[0], numbers, out=out)

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        if call.operator.startswith("cl"):
            cls._clamp(call, "self")
            return
        call.check(call.number("alpha", 1) == 1, "alpha must be 1")
        function = _OF_TORCH[call.operator]
        if call.argument("rounding_mode") == "floor":
            function = "floor_divide"
        cls._of_two(call, function, "self", "other")

    @classmethod
    def from_onnx(cls, call: Reader) -> None:
        if call.operator == "Clip":
            cls._clamp(call, "input")
            return
        call.check(not call.argument("fmod"), "its remainder has the sign of the code")
        cls._of_two(call, _OF_ONNX[call.operator], "A", "B")

    @classmethod
    def _of_two(cls, call: Reader, function: str, first: str, second: str) -> None:
        if function in ("add", "multiply") and not isinstance(call.argument(first), Reference):
            first, second = second, first
        call.on_codes(first, (partial(cls, function), second))

    @classmethod
    def _clamp(cls, call: Reader, name: str) -> None:
        bounds = (("maximum", "min"), ("minimum", "max"))
        given = [
            (partial(cls, f), bound) for f, bound in bounds if call.argument(bound) is not None
        ]
        call.on_codes(name, *given)


@dataclass(frozen=True)
class ToFloat(Operation):
    """Codes as numbers in the dtype of the network."""

    takes_codes = True

    def result(self, *inputs: Value) -> Shape:
        (x,) = inputs
        return Shape(x.channels, x.extent)

    def compute(self, inputs: Sequence[Array], out: Array) -> None:
        out[...] = inputs[0]
