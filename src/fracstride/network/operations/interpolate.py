"""Interpolation of time by an integer: a transposed convolution of each channel by itself."""

from __future__ import annotations

import numpy as np

from fracstride.arrays import Array, as_dtype
from fracstride.layer import ConvTranspose1d as Layer
from fracstride.network.operations.conv_transpose1d import ConvTranspose1d
from fracstride.network.operations.expanded import Expanded
from fracstride.network.reading import Reader
from fracstride.network.value import Value

__all__ = ["Interpolate", "nearest"]


class Interpolate(Expanded):
    """The nearest sample, or the line between two."""

    torch = ("upsample_nearest1d", "upsample_linear1d")
    onnx = ("Resize",)

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        call.check(not call.argument("align_corners"), "align_corners is True")
        x = call.signal("input" if call.argument("input") is not None else "self", "BCT")
        scale, linear = call.times_as_long(), call.operator == "upsample_linear1d"
        # torch rounds the places between samples, by more for later ones, unless they are binary.
        call.check(not linear or scale & (scale - 1) == 0, f"{scale} is no power of two")
        call.give(_interpolated(call, x, scale, linear), "BCT")

    @classmethod
    def from_onnx(cls, call: Reader) -> None:
        mode = call.argument("mode", "nearest")
        way = call.argument("coordinate_transformation_mode", "half_pixel")
        nearest = call.argument("nearest_mode", "round_prefer_floor")
        known = mode == "linear" and way in ("half_pixel", "pytorch_half_pixel")
        known |= mode == "nearest" and (way, nearest) == ("asymmetric", "floor")
        call.check(known, f"it is {mode} with {way}, {nearest}")
        x = call.signal("X", "BCT")
        call.give(_interpolated(call, x, call.times_as_long(), mode == "linear"), "BCT")


def _interpolated(call: Reader, x: Value, scale: int, linear: bool) -> Value:
    if not linear:
        return call.add(nearest(x.channels, scale, call.dtype), x)
    kernel = _line(scale)
    layer = Layer.from_weights(
        np.broadcast_to(kernel, (x.channels, 1, kernel.size)).astype(as_dtype(call.dtype)),
        stride=scale,
        padding=scale // 2,
        groups=x.channels,
        padding_mode="replicate",
    )
    return call.add(ConvTranspose1d(layer), x)


def nearest(channels: int, scale: int, dtype: str) -> ConvTranspose1d:
    """Each position so many times."""
    ones = np.ones((channels, 1, scale), as_dtype(dtype))
    return ConvTranspose1d(Layer.from_weights(ones, stride=scale, groups=channels))


def _line(scale: int) -> Array:
    """What each sample gives to those around it: 1 at its own place, 0 at the next sample's.

    Sample ``n`` lies in the middle of the ``scale`` samples that are made of it, as torch has it
    with ``align_corners=False``.
    """
    places = np.arange(2 * scale - scale % 2) - scale // 2 - (scale - 1) / 2
    line: Array = 1 - np.abs(places) / scale
    return line
