"""Concatenation of channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fracstride.arrays import Array
from fracstride.network.elementwise import broadcast
from fracstride.network.operation import Operation
from fracstride.network.steps import Steps, copy
from fracstride.network.value import Shape, Value

__all__ = ["Concatenate"]


@dataclass(frozen=True)
class Concatenate(Operation):
    """The channels of all inputs, one after the other; one position fits to any length."""

    takes_codes = True

    def result(self, *inputs: Value) -> Shape:
        if len({x.is_codes for x in inputs}) > 1:
            raise ValueError(f"{self.name} of codes and other signals")
        lengths = broadcast(self.name, *(Value("", Shape(1, x.extent)) for x in inputs))
        return Shape(sum(x.channels for x in inputs), lengths.extent, inputs[0].is_codes)

    def bind(self, inputs: Sequence[Array], out: Array) -> Callable[[], object]:
        steps, first = Steps(), 0
        for x in inputs:
            steps.add(copy(out[:, first : first + x.shape[1]], x))
            first += x.shape[1]
        return steps
