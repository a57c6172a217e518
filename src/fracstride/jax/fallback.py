"""The maps by ``lax.conv_general_dilated``: for every platform that the kernels do not compute on.

T, the transposed convolution, is a convolution of the input with zeros between its frames; C, its
adjoint in the input, is a strided convolution; R, its adjoint in the weight, sums over the batch.
An input is extended as its padding mode says, and what C finds on the extension is folded back.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.export import is_symbolic_dim

from fracstride.conv1d_geometry import AnyGeometry, Conv1dGeometry
from fracstride.geometry import Geometry
from fracstride.jax.extension import extend, fold

__all__ = ["conv1d", "forward", "input_grad", "weight_grad"]

_LAYOUT = ("NCH", "OIH", "NCH")


def forward(x: Any, w: Any, *, geometry: Geometry, groups: int, size: Any) -> Any:
    """T: ``(B, C_in, L)`` and ``(C_in, C_out/g, k)`` give ``(B, C_out, size)``."""
    x, crop = _extended(x, geometry, size)
    channels, out, taps = w.shape
    by_group = w.reshape(groups, channels // groups, out, taps).swapaxes(1, 2)
    kernel = by_group.reshape(groups * out, channels // groups, taps)[..., ::-1]
    reach = geometry.span - 1
    before = reach - crop
    after = size - (x.shape[2] - 1) * geometry.stride - 1 - before + reach
    if is_symbolic_dim(after):  # the remainder of a division by the stride of a Conv1d
        after = reach + max(geometry.stride, geometry.dilation) - 1
    y = lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1,),
        padding=((before, after),),
        lhs_dilation=(geometry.stride,),
        rhs_dilation=(geometry.dilation,),
        dimension_numbers=_LAYOUT,
        feature_group_count=groups,
    )
    return y[:, :, :size]


def input_grad(gy: Any, w: Any, *, geometry: Geometry, groups: int, size: Any) -> Any:
    """C: ``(B, C_out, L_out)`` and the weight of T give ``(B, C_in, size)``."""
    left, right = _extension(geometry, size, gy.shape[2])
    crop, frames = geometry.padding_left + left * geometry.stride, left + size + right
    after = (frames - 1) * geometry.stride + geometry.span - gy.shape[2] - crop
    if geometry.padding_mode == "zeros":
        return _strided(gy, w, geometry, crop, after, groups)
    dtype, wide = gy.dtype, _wide(gy.dtype)  # half precision is rounded once, after the folding
    gx = _strided(gy.astype(wide), w.astype(wide), geometry, crop, after, groups)
    return fold(gx, left, size, geometry.padding_mode).astype(dtype)


def conv1d(x: Any, w: Any, *, geometry: Conv1dGeometry, groups: int, size: Any) -> Any:
    """A Conv1d: ``(B, C_in, L)`` and ``(C_out, C_in/g, k)`` give ``(B, C_out, size)``."""
    left, right = geometry.padding_left, geometry.padding_right
    if geometry.padding_mode != "zeros":
        x, left, right = extend(x, left, right, geometry.padding_mode), 0, 0
    return _strided(x, w, geometry, left, right, groups)


def weight_grad(x: Any, gy: Any, *, geometry: Geometry, groups: int, size: int) -> Any:
    """R: the input of T and a signal of the shape of its output give a weight of ``size`` taps."""
    x, crop = _extended(x, geometry, gy.shape[2])
    whole = (x.shape[2] - 1) * geometry.stride + geometry.span - crop
    after = whole - gy.shape[2]
    if is_symbolic_dim(after):  # as above
        gy, after = jnp.pad(gy, ((0, 0), (0, 0), (0, geometry.padding_right)))[:, :, :whole], 0
    return lax.conv_general_dilated(
        gy,
        x,
        window_strides=(geometry.dilation,),
        padding=((crop, after),),
        rhs_dilation=(geometry.stride,),
        dimension_numbers=lax.ConvDimensionNumbers((1, 0, 2), (1, 0, 2), (1, 0, 2)),
        batch_group_count=groups,
    )


def _strided(x: Any, w: Any, geometry: AnyGeometry, before: int, after: int, groups: int) -> Any:
    """A convolution with so many zeros before and after the signal; fewer than none cut it."""
    return lax.conv_general_dilated(
        x,
        w,
        window_strides=(geometry.stride,),
        padding=((before, after),),
        rhs_dilation=(geometry.dilation,),
        dimension_numbers=_LAYOUT,
        feature_group_count=groups,
    )


def _wide(dtype: Any) -> Any:
    return jnp.float32 if dtype in (jnp.float16, jnp.bfloat16) else dtype


def _extension(geometry: Geometry, length: Any, output_length: Any) -> tuple[int, int]:
    """How many frames before and after the input some sample is made of; none with zeros."""
    edges = geometry.edges(length, output_length)
    return (max(0, -edges[0]), max(0, edges[-1] - length)) if edges else (0, 0)


def _extended(x: Any, geometry: Geometry, output_length: Any) -> tuple[Any, int]:
    """The input with its extension as frames of its own, and the samples to crop on the left."""
    left, right = _extension(geometry, x.shape[2], output_length)
    if left or right:
        x = extend(x, left, right, geometry.padding_mode)
    return x, geometry.padding_left + left * geometry.stride
