"""The short-time Fourier transform and its inverse, as the convolutions that they are."""

from __future__ import annotations

import numpy as np

from fracstride.arrays import Array, as_dtype
from fracstride.conv1d import Conv1d as Conv1dLayer
from fracstride.layer import ConvTranspose1d as ConvTranspose1dLayer
from fracstride.network import fourier
from fracstride.network.operations.channels import Channels
from fracstride.network.operations.concatenate import Concatenate
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.conv_transpose1d import ConvTranspose1d
from fracstride.network.operations.envelope import DividedByEnvelope
from fracstride.network.operations.expanded import Expanded
from fracstride.network.periodic import window_envelope
from fracstride.network.reading import Reader
from fracstride.network.value import Value

__all__ = ["ISTFT", "STFT"]


class STFT(Expanded):
    """A strided Conv1d, whose weight is a window times the waves of each frequency.

    Its channels are the real and the imaginary part of each frequency in turn. The pad of
    ``center`` is a call of its own, in torch too.
    """

    torch = ("stft",)
    onnx = ("STFT",)

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        call.check(not call.argument("center"), "it pads the signal itself")
        call.check(not call.argument("align_to_window"), "it aligns frames to the window")
        call.check(not call.argument("return_complex"), "its result is complex")
        size = int(call.number("n_fft"))
        hop = int(call.number("hop_length", size // 4))
        weight = fourier.forward(
            size,
            fourier.bins_of(size) if call.argument("onesided", True) else size,
            "ortho" if call.argument("normalized") else "backward",
        )
        layer = _layer(call, weight * _window(call, size), hop)
        y = call.add(Conv1d(layer), call.signal("self", "BT"))
        call.give(y, "BCTC", (len(weight), 2))

    @classmethod
    def from_onnx(cls, call: Reader) -> None:
        x, axes = call.signal_of("signal", "BTC", "BT")
        call.check(x.channels == 1, f"its {axes} signal is complex")
        window = call.optional_weight("window")
        size = int(call.number("frame_length", 0 if window is None else window.size))
        call.check(window is None or window.size == size, "its window has another length")
        bins = fourier.bins_of(size) if call.argument("onesided", 1) else size
        weight = fourier.forward(size, bins)
        if window is not None:
            weight = weight * window.astype(np.float64)
        layer = _layer(call, weight, int(call.number("frame_step")))
        call.give(call.add(Conv1d(layer), x), "BTCC", (bins, 2))


class ISTFT(Expanded):
    """A transposed convolution, whose weight is a window times the waves of each frequency.

    Its result is divided by the sum of the frames' squared windows.
    """

    torch = ("istft",)

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        call.check(not call.argument("return_complex"), "its result is complex")
        size = int(call.number("n_fft"))
        hop, window = int(call.number("hop_length", size // 4)), _window(call, size)
        real, imaginary = call.signals("self", "BCT")
        # As torch has it, half of the frequencies count even if all are there.
        bins = fourier.bins_of(size)
        norm = "ortho" if call.argument("normalized") else "backward"
        weight = fourier.real_inverse(size, norm) * window
        crop = size // 2 if call.argument("center", True) else 0
        length = call.argument("length")
        # What is wanted beyond the last frame's middle is there, if a length is given.
        padding = (crop, crop if length is None else 0)
        layer = ConvTranspose1dLayer.from_weights(
            weight[:, None].astype(as_dtype(call.dtype)), None, hop, padding
        )
        parts = [
            _some_channels(call, real, 0, bins),
            _some_channels(call, imaginary, 1, fourier.imaginary_end(size)),
        ]
        x = call.add(Concatenate(), *(part for part in parts if part is not None))
        y = call.add(ConvTranspose1d(layer), x)
        y = call.add(DividedByEnvelope.of(window_envelope(window**2, hop, *padding)), y)
        call.give(y if length is None else call.resized(y, length), "BT")


def _layer(call: Reader, weight: Array, hop: int) -> Conv1dLayer:
    """Of a weight ``(bins, 2, size)``."""
    rows = weight.reshape(-1, 1, weight.shape[-1]).astype(as_dtype(call.dtype))
    return Conv1dLayer.from_weights(rows, None, hop)


def _window(call: Reader, size: int) -> Array:
    """The window, with zeros around it if it is shorter than a frame."""
    given = call.optional_weight("window")
    width = int(call.number("win_length", size))
    window = np.zeros(size)
    left = (size - width) // 2
    window[left : left + width] = 1.0 if given is None else given.astype(np.float64)
    return window


def _some_channels(call: Reader, x: Value, first: int, end: int) -> Value | None:
    if first >= end:
        return None
    if (first, end) == (0, x.channels):
        return x
    return call.add(Channels(tuple(range(first, end))), x)
