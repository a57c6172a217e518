"""Weighted sums over an axis of channels, and norms: Conv1ds with one tap."""

from __future__ import annotations

import numpy as np

from fracstride.arrays import Array, as_dtype
from fracstride.conv1d import Conv1d as Layer
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.expanded import Expanded
from fracstride.network.operations.functions import Sqrt, Square
from fracstride.network.reading import Reader
from fracstride.network.recording import Constant, Filled

__all__ = ["ChannelNorm", "MatMul"]

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
        first = isinstance(call.argument(left), (Constant, Filled))
        matrix = call.weight(left if first else right)
        while matrix.ndim > 2 and len(matrix) == 1:  # one for the whole batch
            matrix = matrix[0]
        call.check(matrix.ndim == 2, "it multiplies by several matrices")
        rows = matrix if first else matrix.T
        x, found = call.signal_of(*((right, "BCT") if first else (left, *_CHANNELS_LAST)))
        layer = Layer.from_weights(np.ascontiguousarray(rows)[:, :, None])
        call.give(call.add(Conv1d(layer), x), found)


class ChannelNorm(Expanded):
    """The root of the sum of squares over channels."""

    torch = ("linalg_vector_norm",)
    onnx = ("ReduceL2",)

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        call.check(call.number("ord", 2) == 2, "it is a norm of another order than 2")
        call.check(call.argument("dtype") is None, "it changes the dtype")
        _give(call, "self", "dim", keep=bool(call.argument("keepdim")))

    @classmethod
    def from_onnx(cls, call: Reader) -> None:
        _give(call, "data", "axes", keep=bool(call.argument("keepdims", 1)))


def _give(call: Reader, name: str, dims: str, *, keep: bool) -> None:
    call.check(call.argument(dims) is not None, "it is over all axes")
    (dim,) = call.integers(dims, 1)
    x, axes = call.signal_of(name, *_SEVERAL)
    dim %= len(call.shape(name))
    dim += len(axes) - len(call.shape(name))  # without a batch
    last = max(place for place, letter in enumerate(axes) if letter == "C")
    call.check(dim == last, "it is over another axis than the last one of channels")
    count = int(call.shape(name)[dim - len(axes)])
    sums = x.channels // count
    ones: Array = np.ones((sums, count, 1), as_dtype(call.dtype))
    squares = call.add(Conv1d(Layer.from_weights(ones, groups=sums)), call.add(Square(), x))
    y = call.add(Sqrt(), squares)
    others = (sums,) if axes.count("C") > 1 else ()
    call.give(y, axes if keep else axes[:dim] + axes[dim + 1 :], (*others, 1) if keep else others)
