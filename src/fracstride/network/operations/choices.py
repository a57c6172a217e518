"""Comparisons, and choices between two signals by what a comparison gives.

A truth value is a number: 1 where it holds, 0 where it does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from fracstride.network.elementwise import Elementwise
from fracstride.network.pointwise import Operand, Program, Register

__all__ = [
    "And",
    "Comparison",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Not",
    "Or",
    "Where",
]

# More than the logarithm of any positive number of our dtypes is below 0.
_MORE_THAN_LOGARITHMS = 1000.0


def greater(program: Program, a: Operand, b: Operand) -> Register:
    """1 where ``a > b``, else 0; NaN of NaN and of two infinities alike."""
    return _is_positive(program, program.add("relu", program.add("subtract", a, b)))


def _is_positive(program: Program, distance: Register) -> Register:
    """1 where a number that is not negative is positive, else 0: of any size, without overflow."""
    logarithm = program.add("log", distance)  # of 0: minus infinity
    return program.add(
        "clamp", program.add("add", logarithm, _MORE_THAN_LOGARITHMS), numbers=(0.0, 1.0)
    )


def negated(program: Program, truth: Operand) -> Register:
    """1 for 0 and 0 for 1."""
    return program.add("subtract", 1.0, truth)


def chosen(program: Program, truth: Operand, one: Operand, other: Operand) -> Register:
    """``one`` where it is true, else ``other``, bit for bit; what is not chosen may be NaN."""
    if isinstance(truth, float):  # a constant
        return program.add("copy", one if truth else other)
    # A leaky ReLU with infinity for its number ignores its slope. With -1 it is minus the slope.
    # So one of both is infinite and the other one minus what is chosen: the minimum is that.
    sign = program.add("multiply", program.add("subtract", truth, 0.5), inf)
    turned = program.add("negative", sign)
    of_other = program.add("clamp", sign, numbers=(-1.0, inf))
    of_one = program.add("clamp", turned, numbers=(-1.0, inf))
    lowest = program.add(
        "minimum",
        program.add("leaky_relu", of_other, other),
        program.add("leaky_relu", of_one, one),
    )
    return program.add("negative", lowest)


@dataclass(frozen=True)
class Comparison(Elementwise):
    """A comparison of two signals."""

    onnx_inputs = ("A", "B")


class Greater(Comparison):
    """Whether ``a > b``."""

    onnx = ("Greater",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        return greater(program, *inputs)


class Less(Comparison):
    """Whether ``a < b``."""

    onnx = ("Less",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        return greater(program, inputs[1], inputs[0])


class GreaterOrEqual(Comparison):
    """Whether ``a >= b``."""

    onnx = ("GreaterOrEqual",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        return negated(program, greater(program, inputs[1], inputs[0]))


class LessOrEqual(Comparison):
    """Whether ``a <= b``."""

    onnx = ("LessOrEqual",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        return negated(program, greater(program, *inputs))


class Equal(Comparison):
    """Whether ``a == b``."""

    onnx = ("Equal",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        distance = program.add("absolute", program.add("subtract", *inputs))
        return negated(program, _is_positive(program, distance))


class And(Comparison):
    """Whether both hold."""

    onnx = ("And",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        return program.add("minimum", *inputs)


class Or(Comparison):
    """Whether one of both holds."""

    onnx = ("Or",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        return program.add("maximum", *inputs)


@dataclass(frozen=True)
class Not(Elementwise):
    """Whether it does not hold."""

    onnx = ("Not",)

    def emit(self, program: Program, *inputs: Operand) -> Register:
        return negated(program, *inputs)


@dataclass(frozen=True)
class Where(Elementwise):
    """The second input where the first one holds, else the third."""

    onnx = ("Where",)
    onnx_inputs = ("condition", "X", "Y")

    def emit(self, program: Program, *inputs: Operand) -> Register:
        return chosen(program, *inputs)
