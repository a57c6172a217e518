"""The maps of both layers in torch's own operators: for every device and dtype, and for exporters.

The input is extended as its padding mode says; then it is an ordinary convolution, and the result
of a transposed one is cropped. The adjoints of these steps, in reverse order, are the adjoints.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as tf
from torch.nn.grad import conv1d_weight

from fracstride.conv1d_geometry import AnyGeometry, Conv1dGeometry
from fracstride.folding import fold
from fracstride.geometry import Geometry, geometry_of
from fracstride.torch.complex_tensors import join_weight_grad, split_signal
from fracstride.torch.extension import extend

__all__ = ["folded", "forward", "input_grad", "weight_grad"]


def forward(x: Tensor, w: Tensor, b: Tensor | None, geometry: AnyGeometry, groups: int) -> Tensor:
    """The layer's output, ``(B, C_out, L_out)``."""
    if isinstance(geometry, Conv1dGeometry):
        x, both = _padded(x, geometry)
        return tf.conv1d(x, w, b, geometry.stride, both, geometry.dilation, groups)
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


def input_grad(gy: Tensor, w: Tensor, length: int, geometry: AnyGeometry, groups: int) -> Tensor:
    """The input's gradient, what falls on the extension folded back."""
    if isinstance(geometry, Conv1dGeometry):
        k, s, d = geometry.kernel_size, geometry.stride, geometry.dilation
        left, right = geometry.padding_left, geometry.padding_right
        if geometry.padding_mode == "zeros":
            return forward(gy, w, None, _onto(length, k, s, (left, right), d), groups)
        padded = forward(gy, w, None, _onto(left + length + right, k, s, (0, 0), d), groups)
        return folded(padded, left, length, geometry.padding_mode)
    gx = tf.conv1d(_pad(gy, geometry), w, None, geometry.stride, 0, geometry.dilation, groups)
    left, right = _extension(geometry)
    if not left and not right:
        return gx
    return folded(gx, left, length, geometry.padding_mode)


def weight_grad(x: Tensor, gy: Tensor, geometry: AnyGeometry, groups: int) -> Tensor:
    """The weight's gradient, which for ``R`` is that of the convolution that ``C`` is."""
    if x.is_complex():
        parts = split_signal(x, groups), split_signal(gy, groups)
        return join_weight_grad(weight_grad(*parts, geometry, groups), groups)
    if isinstance(geometry, Conv1dGeometry):
        (x, both), gy = _padded(x, geometry), gy
    else:
        x, gy, both = _pad(gy, geometry), _extend(x, geometry), 0
    size = gy.shape[1], x.shape[1] // groups, geometry.kernel_size
    s, d = geometry.stride, geometry.dilation
    gw: Tensor = conv1d_weight(x, size, gy, s, both, d, groups)
    return gw


def _padded(x: Tensor, geometry: Conv1dGeometry) -> tuple[Tensor, int]:
    """The input of a Conv1d, and the zeros on both sides that torch's operator adds to it."""
    left, right, mode = geometry.padding_left, geometry.padding_right, geometry.padding_mode
    if left == right and (mode == "zeros" or not left):
        return x, left
    if mode == "zeros":
        return tf.pad(x, (left, right)), 0
    return extend(x, left, right, mode), 0


def _onto(length: int, k: int, s: int, pads: tuple[int, int], d: int) -> Geometry:
    """The transposed convolution that is the adjoint of a Conv1d of an input of this length."""
    return geometry_of(k, s, pads, (length + sum(pads) - d * (k - 1) - 1) % s, d, "zeros")


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


def folded(
    gx: Tensor, left: int, length: int, padding_mode: str, one_by_one: bool = False
) -> Tensor:
    """Frames ``[-left, ...)`` of an extended signal, added to those of ``[0, length)`` they copy.

    By slices, in one order: adding by an index is not deterministic on a GPU. Copies of the same
    frame are added up first, except ``one_by_one``.
    """
    before, after = gx[:, :, :left], gx[:, :, left + length :]
    result = gx.narrow(2, left, length).clone()
    first = -left
    if padding_mode == "replicate" and not one_by_one:
        before, after, first = before.sum(2, True), after.sum(2, True), -1
    fold(result, before, first, padding_mode, _flip)
    fold(result, after, length, padding_mode, _flip)
    return result


def _flip(tensor: Tensor, dim: int) -> Tensor:
    return tensor.flip(dim)
