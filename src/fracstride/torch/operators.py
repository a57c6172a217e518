"""The operators ``torch.ops.fracstride``, called with a geometry."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from fracstride.geometry import Geometry

__all__ = ["forward", "input_grad", "weight_grad"]


def forward(x: Tensor, w: Tensor, b: Tensor | None, geometry: Geometry, groups: int) -> Tensor:
    """``T``: ``(B, C_out, L_out)``."""
    sizes = _sizes(geometry, int(w.shape[0]) // groups)
    y: Tensor = torch.ops.fracstride.conv_transpose1d(x, w, b, *sizes)
    return y


def input_grad(gy: Tensor, w: Tensor, length: int, geometry: Geometry, groups: int) -> Tensor:
    """``C``: ``(B, C_in, length)``."""
    sizes = _sizes(geometry, int(w.shape[0]) // groups)
    gx: Tensor = torch.ops.fracstride.conv_transpose1d_input_grad(gy, w, length, *sizes)
    return gx


def weight_grad(x: Tensor, gy: Tensor, geometry: Geometry, groups: int) -> Tensor:
    """``R``: ``(C_in, C_out/g, k)``."""
    k, sizes = geometry.kernel_size, _sizes(geometry, int(x.shape[1]) // groups)
    gw: Tensor = torch.ops.fracstride.conv_transpose1d_weight_grad(x, gy, k, *sizes)
    return gw


_Sizes = tuple[int, int, int, int, int, int, str]


def _sizes(geometry: Geometry, group_channels: int) -> _Sizes:
    """What an operator takes after its tensors: plain ints and the padding mode."""
    group_channels = int(group_channels)  # a symbol where torch.func.vmap counts the weights
    if type(geometry.total_output_padding) is int:
        return _cached(geometry, group_channels)
    return _sizes_of(geometry, group_channels)  # a symbol, which no cache can take


def _sizes_of(geometry: Geometry, group_channels: int) -> _Sizes:
    return (
        geometry.stride,
        geometry.padding_left,
        geometry.padding_right,
        geometry.total_output_padding,
        group_channels,
        geometry.dilation,
        geometry.padding_mode,
    )


_cached = lru_cache(maxsize=1024)(_sizes_of)
