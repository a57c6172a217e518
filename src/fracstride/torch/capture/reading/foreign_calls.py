"""Operators that the library does not know: they run in torch, inside the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from fracstride.arrays import DType
from fracstride.network.extent import Extent
from fracstride.network.foreign import Foreign
from fracstride.network.layout import (
    BATCH,
    TIME,
    Axes,
    Axis,
    Split,
    View,
    as_signal,
    as_tensor,
    split,
)
from fracstride.network.reading.lowering import Lowering
from fracstride.network.recording import Call, Constant, Filled, Reference, Repeated, Size, Varying
from fracstride.network.sizes import Fitted, fit
from fracstride.network.value import Shape, Value
from fracstride.torch.capture.foreign import as_array, as_tensor_of, call

__all__ = ["TorchCall", "add_foreign_call"]


#: Operators that would not be here if they were over channels, or of each position by itself.
_WHOLE = {
    "amax", "amin", "argmax", "batch_norm", "bmm", "cumsum", "group_norm", "instance_norm",
    "layer_norm", "logsumexp", "matmul", "max", "mean", "min", "native_batch_norm",
    "native_group_norm", "native_layer_norm", "prod", "scaled_dot_product_attention", "softmax",
    "_softmax", "sort", "std", "std_mean", "sum", "var", "var_mean",
}  # fmt: skip


@dataclass(frozen=True)
class _Given:
    """The input of a foreign call with this number."""

    number: int


@dataclass(frozen=True)
class _Fill:
    number: float
    shape: tuple[Any, ...]
    dtype: str


@dataclass(frozen=True, eq=False)
class TorchCall(Foreign):
    """One call of an operator of torch."""

    operator: str
    #: Why the library does not compute it.
    why: str
    #: What the operator is called with: tensors, sizes to be worked out, and everything else.
    arguments: dict[str, Any]
    #: How the tensors lie over the inputs, None for objects of torch.
    input_axes: tuple[Axes | None, ...]
    #: The dtype of tensors of codes, which a network has in another one; None for other inputs.
    input_dtypes: tuple[str | None, ...]
    #: How the tensors lie over the results.
    result_axes: tuple[Axes | None, ...]

    @property
    def name(self) -> str:
        return f"torch {self.operator.split('.')[1]}"

    def astype(self, dtype: DType) -> TorchCall:
        return replace(self, arguments=_converted(self.arguments, getattr(torch, dtype.name)))

    @property
    def depends_on_length(self) -> bool:
        return _depends_on_length(self.arguments)

    def obstacle(self, *inputs: Value) -> str:
        if self.operator.split(".")[1] in _WHOLE:
            return "looks at the whole signal"
        return super().obstacle(*inputs)

    def call(self, inputs: Sequence[Any], clock: int, batch: int) -> Sequence[Any]:
        sides = zip(inputs, self.input_axes, self.input_dtypes, strict=True)
        tensors = [given if axes is None else _tensor(given, axes, d) for given, axes, d in sides]
        arguments = _filled_in(self.arguments, tensors, clock, batch)
        with torch.inference_mode():
            results = call(self.operator, arguments)
        return [
            result if axes is None else as_signal(as_array(result), axes)
            for result, axes in zip(results, self.result_axes, strict=True)
        ]


def _tensor(signal: Any, axes: Axes, dtype: str | None) -> torch.Tensor:
    """The tensor that shows a signal."""
    tensor = as_tensor_of(as_tensor(signal, axes)).contiguous()
    return tensor if dtype is None else tensor.to(getattr(torch, dtype))


def _converted(argument: Any, dtype: torch.dtype) -> Any:
    """An argument whose constants of floats have another dtype."""
    match argument:
        case torch.Tensor() if argument.is_floating_point():
            return argument.to(dtype)
        case _Fill(number, shape, own) if getattr(torch, own).is_floating_point:
            return _Fill(number, shape, str(dtype).removeprefix("torch."))
        case dict():
            return {name: _converted(each, dtype) for name, each in argument.items()}
        case list() | tuple():
            return [_converted(each, dtype) for each in argument]
    return argument


def _depends_on_length(argument: Any) -> bool:
    match argument:
        case Fitted():
            return argument(1, 1) != argument(2, 1)
        case _Fill(_, shape, _):
            return _depends_on_length(shape)
        case dict():
            return any(map(_depends_on_length, argument.values()))
        case list() | tuple():
            return any(map(_depends_on_length, argument))
    return False


def _filled_in(argument: Any, tensors: Sequence[Any], clock: int, batch: int) -> Any:
    def inner(each: Any) -> Any:
        return _filled_in(each, tensors, clock, batch)

    match argument:
        case _Given(number):
            return tensors[number]
        case Fitted():
            return argument(clock, batch)
        case _Fill(number, shape, dtype):
            return torch.full(tuple(map(inner, shape)), number, dtype=getattr(torch, dtype))
        case dict():
            return {name: inner(each) for name, each in argument.items()}
        case list() | tuple():
            return [inner(each) for each in argument]
    return argument


def add_foreign_call(lowering: Lowering, call: Call, why: str) -> None:
    """Add a call that runs in torch.

    Raises:
        ValueError: it cannot: a size is not in proportion to the clock or the batch.
    """
    inputs: list[Value] = []
    axes: list[Axes | None] = []
    dtypes: list[str | None] = []
    extents: list[Extent] = []

    def prepared(argument: Any) -> Any:
        match argument:
            case Reference(index):
                found = lowering.tensors[index]
                view = found if isinstance(found, View) else None
                inputs.append(found if isinstance(found, Value) else found.value)
                axes.append(view.axes if view else None)
                is_codes = view is not None and view.value.is_codes
                dtypes.append(lowering.recording.tensors[index].dtype if is_codes else None)
                if view:
                    extents.append(view.value.extent)
                return _Given(len(inputs) - 1)
            case Constant(array):
                return as_tensor_of(np.array(array))
            case Filled(number, shape, dtype):
                return _Fill(number, tuple(map(prepared, shape)), dtype)
            case Repeated():
                raise ValueError(f"a constant changes with the length, and {why}")
            case Varying():
                fitted = fit(argument, lowering.conditions)
                if fitted is None or not all(isinstance(v, int) for v in argument.values):
                    raise ValueError(
                        f"{why}; to run it in torch, its arguments must be in proportion to the "
                        f"length of the input and the batch, and one is {argument.values}"
                    )
                return fitted
            case dict():
                return {name: prepared(each) for name, each in argument.items()}
            case list() | tuple():
                return [prepared(each) for each in argument]
        return argument

    arguments = prepared(call.arguments)
    found = [_result(lowering, index, extents) for index in call.results]
    operation = TorchCall(
        call.operator,
        why,
        arguments,
        tuple(axes),
        tuple(dtypes),
        tuple(None if f is None else f[1] for f in found),
    )
    shapes = [None if f is None else f[0] for f in found]
    values = lowering.graph.add_foreign(operation, inputs, shapes, call.path)
    for index, value, result in zip(call.results, values, found, strict=True):
        lowering.tensors[index] = value if result is None else View(value, result[1])


def _result(lowering: Lowering, index: int, extents: Sequence[Extent]) -> tuple[Shape, Axes] | None:
    """Shape and axes of a result as a signal; None where it is none."""
    tensor = lowering.recording.tensors[index]
    if tensor.dtype != lowering.dtype:
        return None
    named: list[int | Axis] = []
    extent = Extent.affine(0, 1)
    for size in tensor.shape:
        if not isinstance(size, Varying):
            named.append(size)
        elif lowering.is_batch(size):
            named.append(BATCH)
        elif TIME not in named:
            found = _extent(lowering, size, extents)
            if found is None:
                return None
            extent = found
            named.append(TIME)
        else:
            return None
    if lowering.has_batch != (BATCH in named) or named.count(BATCH) > 1:
        return None
    axes = split(*named)
    channels = int(np.prod([a.size for a in axes if isinstance(a, Split)], dtype=np.int64))
    return Shape(channels, extent), axes


def _extent(lowering: Lowering, size: Size, extents: Sequence[Extent]) -> Extent | None:
    """The length that a size is: one of these, or affine in the clock."""
    wanted = lowering.sizes(size)
    for extent in extents:
        if lowering.lengths(extent) == wanted:
            return extent
    clocks = [c.clock for c in lowering.conditions]
    first = next((i for i, clock in enumerate(clocks) if clock != clocks[0]), None)
    if first is None:
        return None
    rate, rest = divmod(wanted[first] - wanted[0], clocks[first] - clocks[0])
    extent = Extent.affine(rate, wanted[0] - rate * clocks[0])
    return extent if rest == 0 and lowering.lengths(extent) == wanted else None
