"""Interpolation by a whole number, as a stream."""

from __future__ import annotations

from functools import lru_cache, singledispatch
from math import prod
from typing import Any

import numpy as np

from fracstride.arguments import as_size
from fracstride.arrays import Array
from fracstride.functional import conv_transpose1d
from fracstride.geometry import Geometry
from fracstride.streaming.pieces import repeated
from fracstride.streaming.window import GeometryStream

__all__ = ["Upsample", "interpolated", "triangle"]


class Upsample(GeometryStream):
    """Each frame becomes ``scale`` samples, by repetition or along a straight line.

    ``nearest`` repeats each frame and has latency 0. ``linear`` draws a line from the middle of one
    frame's samples to the middle of the next's and goes on flat at the two ends, as
    ``torch.nn.Upsample`` does with ``align_corners=False``; it has latency ``scale//2``. That is a
    transposed convolution of each channel with a triangle, and it is computed by the same kernel.

    Args:
        scale: samples per frame.
        mode: ``"nearest"`` or ``"linear"``.

    Raises:
        TypeError, ValueError: for an argument that does not fit, with its name.

    >>> up = Upsample(2, "linear")
    >>> up.push(np.array([[[0.0, 4.0]]])), up.flush()
    (array([[[0., 1., 3.]]]), array([[[4.]]]))
    """

    keeps_channels = True

    def __init__(self, scale: int, mode: str = "nearest") -> None:
        scale = as_size("scale", scale, 1)
        if mode not in ("nearest", "linear"):
            raise ValueError(f"mode must be 'nearest' or 'linear', got {mode!r}")
        self._mode, self._scale = mode, scale
        if mode == "nearest":
            geometry = Geometry(scale, scale)
        else:
            geometry = Geometry(2 * scale - scale % 2, scale, scale // 2, padding_mode="replicate")
        super().__init__(geometry)

    def compute(self, window: Any, start: int, first: int, stop: int, last: bool) -> Any:
        if self._mode == "nearest":
            return repeated(window, self._scale)
        return interpolated(window, self.part(window, start, first, stop, last))

    def __repr__(self) -> str:
        return f"Upsample({self._scale}, {self._mode!r})"


def triangle(taps: int, scale: int) -> list[float]:
    """The kernel of linear interpolation.

    >>> triangle(4, 2), triangle(5, 3)[2]
    ([0.25, 0.75, 0.75, 0.25], 1.0)
    """
    middle = (taps - 1) / 2
    return [1 - abs(m - middle) / scale for m in range(taps)]


@singledispatch
def interpolated(window: Any, part: Geometry) -> Any:
    """A part of a signal along straight lines, each row and channel alone."""
    raise TypeError(f"a piece of a signal must be an array, got {type(window).__name__}")


@interpolated.register
def _(window: np.ndarray, part: Geometry) -> Array:
    *lead, frames = window.shape
    y: Array = conv_transpose1d(
        window.reshape(prod(lead), 1, frames),
        _triangle(part.kernel_size, part.stride, window.dtype),
        None,
        part.stride,
        part.padding,
        part.total_output_padding,
        padding_mode=part.padding_mode,
    )
    return y.reshape(*lead, y.shape[-1])


@lru_cache(maxsize=64)
def _triangle(taps: int, scale: int, dtype: Any) -> Array:
    return np.array(triangle(taps, scale)).astype(dtype).reshape(1, 1, taps)
