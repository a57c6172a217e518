"""The discrete Fourier transform over channels: a Conv1d with one tap."""

from __future__ import annotations

import numpy as np

from fracstride.arrays import Array, as_dtype
from fracstride.conv1d import Conv1d as Layer
from fracstride.network import fourier
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.expanded import Expanded
from fracstride.network.reading import Reader

__all__ = ["DFT"]


class DFT(Expanded):
    """The transform or its inverse; a last axis of two is that of real and imaginary parts."""

    onnx = ("DFT",)

    @classmethod
    def from_onnx(cls, call: Reader) -> None:
        x, axes = call.signal_of("input", "BCTC", "BTCC")
        dim = int(call.number("axis", 1 if call.argument("axis") is None else -2))
        call.check(dim % 4 == axes.index("C"), "it transforms time or the batch")
        parts = int(call.shape("input")[-1])
        inverse, onesided = (bool(call.argument(name)) for name in ("inverse", "onesided"))
        given = x.channels // parts
        size = int(call.number("dft_length", 2 * (given - 1) if inverse and onesided else given))
        if inverse and onesided:
            call.check(parts == 2, "it makes a real signal of real numbers")
            matrix = _to_real(size, given)
        elif inverse or parts == 2:
            call.check(not onesided, "it gives half of a complex signal's frequencies")
            matrix = _between_complex(size, given, parts, inverse=inverse)
        else:
            bins = fourier.bins_of(size) if onesided else size
            matrix = _fitted(fourier.forward(size, bins)[..., None], given)
        results = matrix.shape[:2]
        weight = matrix.reshape(-1, x.channels, 1).astype(as_dtype(call.dtype))
        y = call.add(Conv1d(Layer.from_weights(np.ascontiguousarray(weight))), x)
        call.give(y, axes, (int(results[0]), int(results[1])))


def _fitted(matrix: Array, given: int) -> Array:
    """A matrix ``(..., size, parts)`` for a signal that is cut or filled with zeros to its size."""
    missing = max(0, given - matrix.shape[-2])
    around = [(0, 0)] * (matrix.ndim - 2) + [(0, missing), (0, 0)]
    return np.pad(matrix[..., :given, :], around)


def _between_complex(size: int, given: int, parts: int, *, inverse: bool) -> Array:
    matrix = fourier.between_complex(size, inverse=inverse)[:, :parts]
    return _fitted(matrix.transpose(3, 2, 0, 1), given)


def _to_real(size: int, given: int) -> Array:
    bins, end = fourier.bins_of(size), fourier.imaginary_end(size)
    rows = fourier.real_inverse(size).T
    matrix = np.zeros((size, 1, bins, 2))
    matrix[:, 0, :, 0] = rows[:, :bins]
    matrix[:, 0, 1:end, 1] = rows[:, bins:]
    return _fitted(matrix, given)
