"""Pointwise programs of the native module on arrays, for the tests of them."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from fracstride._load import native

DTYPES = [np.dtype(t) for t in ("f4", "f8", "f2", ml_dtypes.bfloat16)]
OPERATIONS = native.pointwise_operations()
NUMBERS = {name: number for number, name in enumerate(OPERATIONS)}
TWO_OPERANDS = ("add", "subtract", "multiply", "divide", "maximum", "minimum", "leaky_relu")
# The two numbers of operations that have some.
SETTINGS = {"elu": (1.0, 0.0), "clamp": (-0.5, 1.25), "softplus": (1.0, 20.0)}

Instruction = tuple[Any, ...]  # name, target, a, then what is not one of these
DEFAULTS = (-1, 0.0, 0.0)  # b, first number, second number


def sum_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that numbers stored as `dtype` are computed in."""
    return np.dtype("f8") if dtype == "f8" else np.dtype("f4")


class Program:
    """A program that is called with arrays of three axes, which may be broadcast."""

    def __init__(
        self,
        dtype: np.dtype[Any],
        inputs: int,
        instructions: list[Instruction],
        channel_values: list[Any] | None = None,
    ) -> None:
        self.dtype, self.inputs = dtype, inputs
        self.values = [
            np.ascontiguousarray(v, dtype=sum_dtype(dtype)) for v in channel_values or []
        ]
        numbers = []
        for instruction in instructions:
            name, target, a, b, first, second = [*instruction, *DEFAULTS[len(instruction) - 3 :]]
            numbers.append((NUMBERS[name], target, a, b, float(first), float(second)))
        self.native = native.pointwise_program(
            str(dtype), inputs, numbers, [(v.ctypes.data, v.size) for v in self.values]
        )

    def __call__(self, *arrays: Any, out: Any = None) -> Any:
        if out is None:
            shape = np.broadcast_shapes(*(x.shape for x in arrays))
            out = np.empty(shape, self.dtype)
        signals = [out, *(np.broadcast_to(x, out.shape) for x in arrays)]
        for array in signals:
            assert array.dtype == self.dtype, array.dtype
        native.pointwise(self.native, *out.shape, *(n for x in signals for n in signal(x)))
        return out


def signal(array: Any) -> tuple[int, ...]:
    """The address of an array and its strides in elements."""
    return array.ctypes.data, *(stride // array.itemsize for stride in array.strides)


def single(name: str, dtype: np.dtype[Any]) -> Program:
    """A program of one operation; the second operand is the second input."""
    two = name in TWO_OPERANDS
    first, second = SETTINGS.get(name, (1.7, 0.0))
    b = 1 if two else -1
    return Program(dtype, 1 + two, [(name, 2, 0, b, first, second)])


def bits(array: Any) -> Any:
    """An array's numbers as integers, every NaN as the same one."""
    array = np.where(np.isnan(array), np.array(np.nan, array.dtype), array)
    return array.view(f"u{array.itemsize}")


def same(a: Any, b: Any) -> None:
    np.testing.assert_array_equal(bits(np.asarray(a)), bits(np.asarray(b)))
