"""The sizes of a layer as arguments of an operator, and back.

Where a layer says ``groups``, an operator says how many input channels a group has. A shard of the
layer, as DTensor makes them, may have fewer groups, or only some of the channels of one group; the
number of channels of a group of the whole layer is the same for all shards.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from torch import Tensor

from fracstride.geometry import Geometry
from fracstride.torch.checks import geometry_of_call, groups_among

__all__ = ["SIZES", "layer_of_input", "layer_of_weight", "sizes_of"]

#: The end of an operator's schema. ``output_padding`` may be a symbol of a graph.
SIZES = (
    "int stride, int padding_left, int padding_right, SymInt output_padding, int group_channels, "
    "int dilation, str padding_mode"
)
_Sizes = tuple[int, int, int, int, int, int, str]


def layer_of_weight(w: Tensor, sizes: tuple[Any, ...]) -> tuple[Geometry, int]:
    """The geometry, and the groups of a weight ``(C_in, C_out/groups, k)``."""
    if w.dim() != 3:
        raise RuntimeError(
            f"weight must have the shape (C_in, C_out/groups, k), got shape {tuple(w.shape)}"
        )
    return _layer(w.shape[0], int(w.shape[2]), sizes)


def layer_of_input(x: Tensor, kernel_size: int, sizes: tuple[Any, ...]) -> tuple[Geometry, int]:
    """The geometry, and the groups of an input ``(B, C_in, L)``."""
    if x.dim() != 3:
        raise RuntimeError(f"input must have the shape (B, C, length), got shape {tuple(x.shape)}")
    return _layer(x.shape[1], kernel_size, sizes)


def _layer(channels: int, kernel_size: int, sizes: tuple[Any, ...]) -> tuple[Geometry, int]:
    stride, left, right, a, group_channels, dilation, mode = sizes
    number = a if type(a) is int else 0
    geometry = geometry_of_call(kernel_size, stride, (left, right), number, dilation, mode)
    if a is not number:
        geometry = geometry.with_unchecked_output_padding(a)
    return geometry, groups_among(channels, group_channels)


def sizes_of(geometry: Geometry, channels: int, groups: int) -> _Sizes:
    """The last arguments of an operator, for a layer of so many input channels in all."""
    # Both are symbols where torch.func.vmap counts the weights of a graph.
    group_channels = int(int(channels) // groups)
    if type(geometry.total_output_padding) is int:
        return _cached(geometry, group_channels)
    return _sizes(geometry, group_channels)  # a symbol, which no cache can take


def _sizes(geometry: Geometry, group_channels: int) -> _Sizes:
    return (
        geometry.stride,
        geometry.padding_left,
        geometry.padding_right,
        geometry.total_output_padding,
        group_channels,
        geometry.dilation,
        geometry.padding_mode,
    )


_cached = lru_cache(maxsize=1024)(_sizes)
