"""The three maps out of torch's own operators: for every device and dtype, and for exporters.

The input is extended as its padding mode says; then it is an ordinary transposed convolution, whose
result is cropped. The adjoints of these steps, in reverse order, are the adjoints.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as tf
from torch.nn.grad import conv1d_weight

from fracstride.geometry import Geometry, source_frame
from fracstride.torch.parts import join_weight_grad, split_signal
from fracstride.torch.state import exporting, tracing

__all__ = ["forward", "input_grad", "weight_grad"]


def forward(x: Tensor, w: Tensor, b: Tensor | None, geometry: Geometry, groups: int) -> Tensor:
    """``T``: ``(B, C_out, L_out)``."""
    left, right = _crop(geometry)
    both, a = min(left, right), geometry.total_output_padding
    x = _extend(x, geometry)
    y = tf.conv_transpose1d(x, w, b, geometry.stride, both, a, groups, geometry.dilation)
    return y if left == right else y[:, :, left - both : y.shape[2] - (right - both)]


def input_grad(gy: Tensor, w: Tensor, length: int, geometry: Geometry, groups: int) -> Tensor:
    """``C``: ``(B, C_in, length)``, a convolution of ``gy``, its extended frames folded back."""
    gx = tf.conv1d(_pad(gy, geometry), w, None, geometry.stride, 0, geometry.dilation, groups)
    left, right = _extension(geometry)
    if not left and not right:
        return gx
    edges = torch.cat([gx[:, :, :left], gx[:, :, left + length :]], 2)
    frames = [*range(-left, 0), *range(length, length + right)]
    return gx.narrow(2, left, length).index_add(2, _sources(frames, length, gx, geometry), edges)


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
    if not left and not right:
        return x
    length = x.shape[2]
    if exporting() and (tracing() or length > max(left, right)):
        # Exporters know torch's padding, and that works for a length that is a symbol.
        return _extend_by_pad(x, left, right, geometry.padding_mode)
    ends = [
        x.index_select(2, _sources(frames, length, x, geometry))
        for frames in (range(-left, 0), range(length, length + right))
    ]
    return torch.cat([ends[0], x, ends[1]], 2)


def _extend_by_pad(x: Tensor, left: int, right: int, padding_mode: str) -> Tensor:
    """As torch's own padding does it: of a length that is a symbol, and long enough."""
    if padding_mode != "circular":
        return tf.pad(x, (left, right), padding_mode)
    return torch.cat([x[:, :, x.shape[2] - left :], x, x[:, :, :right]], 2)


def _sources(frames: list[int] | range, length: int, like: Tensor, geometry: Geometry) -> Tensor:
    """The frames that the given ones copy, as an index on the tensor's device."""
    sources = [source_frame(t, length, geometry.padding_mode) for t in frames]
    return torch.tensor(sources, dtype=torch.int64, device=like.device)
