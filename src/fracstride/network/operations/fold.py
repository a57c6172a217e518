"""Frames of a signal as channels, and the sum of overlapping frames."""

from __future__ import annotations

from typing import Any

import numpy as np

from fracstride.arrays import Array, as_dtype
from fracstride.conv1d import Conv1d as Conv1dLayer
from fracstride.layer import ConvTranspose1d as ConvTranspose1dLayer
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.conv_transpose1d import ConvTranspose1d
from fracstride.network.operations.expanded import Expanded
from fracstride.network.reading import Reader

__all__ = ["Fold", "Frames", "Unfold"]


class Fold(Expanded):
    """The sum of overlapping frames: a transposed convolution of ones, each channel by itself."""

    torch = ("col2im",)
    onnx = ("Col2Im",)

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        image = call.argument("output_size")
        names = "kernel_size", "dilation", "padding", "stride"
        cls._read(call, "self", _Sizes(call, image, *names), image)

    @classmethod
    def from_onnx(cls, call: Reader) -> None:
        image = call.argument("image_shape")
        names = "block_shape", "dilations", "pads", "strides"
        cls._read(call, "input", _Sizes(call, image, *names), image)

    @classmethod
    def _read(cls, call: Reader, name: str, sizes: _Sizes, image: Any) -> None:
        x = call.signal(name, "BCT")
        taps = sizes.kernel_size
        channels = x.channels // taps
        weight = np.tile(_ones(call, taps), (channels, 1, 1))
        layer = ConvTranspose1dLayer.from_weights(
            weight, None, sizes.stride, (sizes.padding[0], 0), 0, channels, sizes.dilation
        )
        # The image may end before the last frame does, or behind it.
        y = call.resized(call.add(ConvTranspose1d(layer), x), image[sizes.axis])
        call.give(y, "BCTC" if sizes.axis == 0 else "BCCT", (channels, 1))


class Unfold(Expanded):
    """Frames as channels: a strided convolution of ones, each channel by itself."""

    torch = ("im2col",)

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        image = call.shape("self")[-2:]
        sizes = _Sizes(call, image, "kernel_size", "dilation", "padding", "stride")
        x = call.signal("self", "BCTC" if sizes.axis == 0 else "BCCT")
        weight = np.tile(_ones(call, sizes.kernel_size), (x.channels, 1, 1))
        layer = Conv1dLayer.from_weights(
            weight, None, sizes.stride, sizes.padding, sizes.dilation, x.channels
        )
        call.give(call.add(Conv1d(layer), x), "BCT")


class Frames(Expanded):
    """Frames as an axis of their own, the last one."""

    torch = ("unfold",)

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        x, axes = call.signal_of("self", "BCT", "BT")
        dim = int(call.number("dimension"))
        call.check(dim in (-1, len(axes) - 1), "it takes frames of channels")
        size = int(call.number("size"))
        weight = np.tile(_ones(call, size), (x.channels, 1, 1))
        layer = Conv1dLayer.from_weights(weight, None, int(call.number("step")), groups=x.channels)
        y = call.add(Conv1d(layer), x)
        call.give(y, axes + "C", (x.channels, size) if axes == "BCT" else (size,))


class _Sizes:
    """Sizes along time of an operator that works in two dimensions."""

    def __init__(
        self, call: Reader, image: Any, kernel_size: str, dilation: str, padding: str, stride: str
    ) -> None:
        call.check(isinstance(image, (list, tuple)), "the size of its image is not known")
        kernel = call.integers(kernel_size, 2)
        #: Of the two, the one that is time.
        self.axis = 0 if image[1] == 1 else 1
        other = 1 - self.axis
        call.check(kernel[other] == image[other] == 1, "it works in two dimensions")
        self.kernel_size = kernel[self.axis]
        self.dilation = _or(call, dilation, 1)[self.axis]
        self.stride = _or(call, stride, 1)[self.axis]
        pads = call.argument(padding)
        #: On both sides, or on each.
        self.padding: tuple[int, ...] = (0, 0) if padding == "pads" else (0,)
        if pads:
            given = call.integers(padding, len(pads))
            others = given[1 - self.axis :: 2]
            call.check(not any(others), "it pads another axis than time")
            self.padding = given[self.axis :: 2]


def _or(call: Reader, name: str, default: int) -> tuple[int, ...]:
    return call.integers(name, 2) if call.argument(name) else (default, default)


def _ones(call: Reader, taps: int) -> Array:
    """``(taps, 1, taps)``: each channel at its tap."""
    return np.eye(taps, dtype=as_dtype(call.dtype))[:, None]
