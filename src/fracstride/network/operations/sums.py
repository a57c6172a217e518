"""Sums over an axis of channels, weighted or not: Conv1ds with one tap."""

from __future__ import annotations

import numpy as np

from fracstride.arrays import Array, as_dtype
from fracstride.conv1d import Conv1d as Layer
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.expanded import Expanded
from fracstride.network.operations.functions import Sqrt, Square
from fracstride.network.reading import Reader
from fracstride.network.recording import Constant, Filled
from fracstride.network.value import Value

__all__ = ["ChannelNorm", "ChannelSum", "MatMul"]

_CHANNELS_LAST = ("BTC", "TBC", "BC", "C")
_SEVERAL = ("BCT", "BTC", "BCTC", "BCCT", "BTCC")


class MatMul(Expanded):
    """The product of a constant matrix and a signal, on either side: a filter bank."""

    torch = ("matmul",)
    onnx = ("MatMul",)

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        cls._read(call, "self", "other")

    @classmethod
    def from_onnx(cls, call: Reader) -> None:
        cls._read(call, "A", "B")

    @classmethod
    def _read(cls, call: Reader, left: str, right: str) -> None:
        if isinstance(call.argument(left), (Constant, Filled)):
            rows = call.weight(left)
            x, found = call.signal_of(right, "BCT")
        else:
            rows = call.weight(right).T
            x, found = call.signal_of(left, *_CHANNELS_LAST)
        call.check(rows.ndim == 2, "it multiplies by several matrices")
        layer = Layer.from_weights(np.ascontiguousarray(rows)[:, :, None])
        call.give(call.add(Conv1d(layer), x), found)


class ChannelSum(Expanded):
    """The sum over channels; of several axes, over the last one."""

    torch = ("sum",)
    onnx = ("ReduceSum",)

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        call.check(call.argument("dtype") is None, "it changes the dtype")
        _give(call, "self", "dim", keep=bool(call.argument("keepdim")), norm=False)

    @classmethod
    def from_onnx(cls, call: Reader) -> None:
        _give(call, "data", "axes", keep=bool(call.argument("keepdims", 1)), norm=False)


class ChannelNorm(Expanded):
    """The root of the sum of squares over channels."""

    torch = ("linalg_vector_norm",)
    onnx = ("ReduceL2",)

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        call.check(call.number("ord", 2) == 2, "it is a norm of another order than 2")
        call.check(call.argument("dtype") is None, "it changes the dtype")
        _give(call, "self", "dim", keep=bool(call.argument("keepdim")), norm=True)

    @classmethod
    def from_onnx(cls, call: Reader) -> None:
        _give(call, "data", "axes", keep=bool(call.argument("keepdims", 1)), norm=True)


def _give(call: Reader, name: str, dims: str, *, keep: bool, norm: bool) -> None:
    call.check(call.argument(dims) is not None, "it is a sum over all axes")
    (dim,) = call.integers(dims, 1)
    x, axes = call.signal_of(name, *_SEVERAL)
    dim %= len(call.shape(name))
    dim += len(axes) - len(call.shape(name))  # without a batch
    last = max(place for place, letter in enumerate(axes) if letter == "C")
    call.check(dim == last, "it is a sum over another axis than the last one of channels")
    count = int(call.shape(name)[dim - len(axes)])
    sums = x.channels // count
    y = _sum(call, call.add(Square(), x) if norm else x, count)
    y = call.add(Sqrt(), y) if norm else y
    others = (sums,) if axes.count("C") > 1 else ()
    call.give(y, axes if keep else axes[:dim] + axes[dim + 1 :], (*others, 1) if keep else others)


def _sum(call: Reader, x: Value, count: int) -> Value:
    """Of each ``count`` channels that follow one another."""
    ones: Array = np.ones((x.channels // count, count, 1), as_dtype(call.dtype))
    return call.add(Conv1d(Layer.from_weights(ones, groups=len(ones))), x)
