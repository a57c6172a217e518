"""Runs over the sizes of an ONNX model, side by side: one recording of them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fracstride.network.periodic import fit_periodic
from fracstride.network.recording import (
    Call,
    Conditions,
    Constant,
    Filled,
    Input,
    Recording,
    Reference,
    Repeated,
    Size,
    Tensor,
    Varying,
)
from fracstride.onnx.inputs import Given
from fracstride.onnx.model import name_of
from fracstride.onnx.nodes import Live, Unknown
from fracstride.onnx.run import Run, Step

__all__ = ["record"]


def record(runs: Sequence[Run], givens: Sequence[Given]) -> Recording:
    """One recording of several runs.

    Raises:
        Unknown: they differ in more than sizes; the node is named.
    """
    return _Alignment(runs).recording(givens)


class _Alignment:
    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs
        self._constants: dict[tuple[int, ...], Any] = {}

    def recording(self, givens: Sequence[Given]) -> Recording:
        self._check_steps()
        steps = [self._call(each) for each in zip(*(run.steps for run in self._runs), strict=True)]
        outputs = [
            self._merged(list(each), f"the output {number}")
            for number, each in enumerate(zip(*(run.outputs for run in self._runs), strict=True))
        ]
        tensors = tuple(
            self._tensor(each) for each in zip(*(run.tensors for run in self._runs), strict=True)
        )
        inputs = tuple(
            Input(live.index, given.time, given.batch, given.per_clock, given.name)
            for live, given in zip(self._runs[0].inputs, givens, strict=True)
        )
        conditions: tuple[Conditions, ...] = tuple(run.conditions for run in self._runs)
        calls = _used(steps, outputs)
        return Recording(conditions, tensors, inputs, calls, tuple(outputs))

    def _check_steps(self) -> None:
        first = self._runs[0]
        for run in self._runs[1:]:
            for here, there in zip(first.steps, run.steps, strict=False):
                if here.node is not there.node:
                    raise self._parting(here, run)
            if len(first.steps) != len(run.steps):
                longer = max(first.steps, run.steps, key=len)
                raise self._parting(longer[min(len(first.steps), len(run.steps))], run)

    def _parting(self, step: Step, run: Run) -> Unknown:
        return Unknown(
            f"{step.node.text}: the model takes another way at {run.conditions.clock} ticks than "
            f"at {self._runs[0].conditions.clock}"
        )

    def _call(self, steps: tuple[Step, ...]) -> Call:
        first = steps[0]
        arguments = {
            name: self._merged(
                [step.arguments[name] for step in steps], f"{first.node.text}: {name}"
            )
            for name in first.arguments
        }
        results = tuple(live.index for live in first.results)
        return Call(f"onnx.{first.node.op_type}", name_of(first.node.proto), arguments, results)

    def _tensor(self, tensors: tuple[Live, ...]) -> Tensor:
        shapes = [tensor.shape for tensor in tensors]
        if len({len(shape) for shape in shapes}) > 1:
            raise Unknown("the number of axes of a tensor changes with the length")
        sizes = tuple(_size(list(each)) for each in zip(*shapes, strict=True))
        return Tensor(sizes, tensors[0].dtype)

    def _merged(self, values: list[Any], what: str) -> Any:
        """What an argument is in all runs."""
        first = values[0]
        if isinstance(first, Live):
            if any(not isinstance(v, Live) or v.index != first.index for v in values):
                raise Unknown(f"{what} is another tensor at other lengths")
            return Reference(first.index)
        if isinstance(first, list) and any(isinstance(v, (Live, np.ndarray)) for v in first):
            return [
                self._merged(list(each), f"{what} {number}")
                for number, each in enumerate(zip(*values, strict=True))
            ]
        if isinstance(first, np.ndarray):
            return self._array(values, what)
        return first  # an attribute, which is the same in all runs

    def _array(self, arrays: list[Any], what: str) -> Any:
        first = arrays[0]
        if not all(isinstance(array, np.ndarray) for array in arrays):
            raise Unknown(f"{what} is a constant at some lengths only")
        if any(array.ndim != first.ndim or array.dtype != first.dtype for array in arrays):
            raise Unknown(f"{what} changes its axes or its dtype with the length")
        if first.dtype.kind in ("iu" if first.ndim else "iub") and first.ndim <= 1:
            return self._integers(arrays, what)
        key = tuple(map(id, arrays))
        if key not in self._constants:
            self._constants[key] = (self._constant(arrays, what), arrays)  # kept: ids stay theirs
        return self._constants[key][0]

    def _integers(self, arrays: list[Any], what: str) -> Any:
        """Sizes, axes and the like, in Python."""
        if arrays[0].ndim == 0:
            return _size([int(array) for array in arrays])
        if len({array.size for array in arrays}) > 1:
            raise Unknown(f"{what}, a constant, grows with the length")
        return [_size(list(map(int, each))) for each in zip(*arrays, strict=True)]

    def _constant(self, arrays: list[Any], what: str) -> Constant | Filled | Repeated:
        first = arrays[0]
        if all(array is first or _same(array, first) for array in arrays):
            return Constant(first)
        numbers = [_number(array) for array in arrays]
        shape = tuple(_size(list(each)) for each in zip(*(a.shape for a in arrays), strict=True))
        if numbers[0] is None or any(number != numbers[0] for number in numbers):
            periodic = fit_periodic(arrays)
            if periodic is not None:
                return Repeated(periodic, shape)
            raise Unknown(
                f"{what}, a constant of shape {first.shape}, changes with the length, and its "
                "values are not one number"
            )
        return Filled(numbers[0], shape, str(first.dtype))


def _size(values: list[int]) -> Size:
    return values[0] if len(set(values)) == 1 else Varying(tuple(values))


def _same(a: Any, b: Any) -> bool:
    return bool(a.shape == b.shape and a.tobytes() == b.tobytes())


def _number(array: Any) -> float | None:
    if not array.size or not (array == array.reshape(-1)[0]).all():
        return None
    return float(array.reshape(-1)[0])


def _used(calls: Sequence[Call], outputs: Sequence[Any]) -> tuple[Call, ...]:
    """The calls that the outputs depend on; others were there for the sizes of their results."""
    needed = {output.index for output in outputs if isinstance(output, Reference)}
    kept = []
    for call in reversed(calls):
        if needed.intersection(call.results):
            kept.append(call)
            for argument in call.arguments.values():
                parts = argument if isinstance(argument, list) else [argument]
                needed.update(part.index for part in parts if isinstance(part, Reference))
    return tuple(kept[::-1])
