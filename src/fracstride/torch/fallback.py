"""The three maps out of torch's own operators: for every device and dtype, and for exporters.

The input is extended as its padding mode says; then it is an ordinary transposed convolution, whose
result is cropped. The adjoints of these steps, in reverse order, are the adjoints.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as tf
from torch.nn.grad import conv1d_weight

from fracstride.folding import fold
from fracstride.geometry import Geometry
from fracstride.torch.complex_tensors import join_weight_grad, split_signal
from fracstride.torch.extension import extend

__all__ = ["forward", "input_grad", "weight_grad"]


def forward(x: Tensor, w: Tensor, b: Tensor | None, geometry: Geometry, groups: int) -> Tensor:
    """``T``: ``(B, C_out, L_out)``."""
    s, a = geometry.stride, geometry.total_output_padding
    left, right = _crop(geometry)
    if a >= s:  # ONNX Runtime refuses that: crop less, and add zeros if that is not enough
        a, right = max(0, a - right), max(0, right - a)
    zeros, a = (a, 0) if a >= s else (0, a)
    both = min(left, right)
    x = _extend(x, geometry)
    early = None if zeros else b
    y = tf.conv_transpose1d(x, w, early, s, both, a, groups, geometry.dilation)
    if left != right:
        y = y[:, :, left - both : y.shape[2] - (right - both)]
    if not zeros:
        return y
    y = tf.pad(y, (0, zeros))
    return y if b is None else y + b[:, None]


def input_grad(gy: Tensor, w: Tensor, length: int, geometry: Geometry, groups: int) -> Tensor:
    """``C``: ``(B, C_in, length)``, a convolution of ``gy``, its extended frames folded back."""
    gx = tf.conv1d(_pad(gy, geometry), w, None, geometry.stride, 0, geometry.dilation, groups)
    left, right = _extension(geometry)
    if not left and not right:
        return gx
    return _fold(gx, left, length, geometry.padding_mode)


def weight_grad(x: Tensor, gy: Tensor, geometry: Geometry, groups: int) -> Tensor:
    """``R``: ``(C_in, C_out/g, k)``, the weight's gradient of the convolution that ``C`` is."""
    if x.is_complex():
        parts = split_signal(x, groups), split_signal(gy, groups)
        return join_weight_grad(weight_grad(*parts, geometry, groups), groups)
    size = (x.shape[1], gy.shape[1] // groups, geometry.kernel_size)
    gw: Tensor = conv1d_weight(
        _pad(gy, geometry),
        size,
        _extend(x, geometry),
        geometry.stride,
        0,
        geometry.dilation,
        groups,
    )
    return gw


def _extension(geometry: Geometry) -> tuple[int, int]:
    """Frames to extend the input by, left and right."""
    if geometry.padding_mode == "zeros":
        return 0, 0
    return geometry.extension_left, geometry.extension_right


def _crop(geometry: Geometry) -> tuple[int, int]:
    """Samples to crop from the transposed convolution of the extended input."""
    left, right = _extension(geometry)
    s = geometry.stride
    return geometry.padding_left + left * s, geometry.padding_right + right * s


def _pad(gy: Tensor, geometry: Geometry) -> Tensor:
    """``gy`` where the uncropped result would have it: the adjoint of the crop."""
    left, right = _crop(geometry)
    return tf.pad(gy, (left, right - geometry.total_output_padding))


def _extend(x: Tensor, geometry: Geometry) -> Tensor:
    """The input with its extension as frames of its own."""
    left, right = _extension(geometry)
    return extend(x, left, right, geometry.padding_mode) if left or right else x


def _fold(gx: Tensor, left: int, length: int, padding_mode: str) -> Tensor:
    """Frames ``[-left, ...)`` of an extended signal, added to those of ``[0, length)`` they copy.

    By slices, in one order: adding by an index is not deterministic on a GPU.
    """
    before, after = gx[:, :, :left], gx[:, :, left + length :]
    folded = gx.narrow(2, left, length).clone()
    first = -left
    if padding_mode == "replicate":  # all copies of one frame are one addition
        before, after, first = before.sum(2, True), after.sum(2, True), -1
    fold(folded, before, first, padding_mode, _flip)
    fold(folded, after, length, padding_mode, _flip)
    return folded


def _flip(tensor: Tensor, dim: int) -> Tensor:
    return tensor.flip(dim)
