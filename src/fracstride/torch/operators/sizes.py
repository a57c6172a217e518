"""The sizes of a layer as arguments of an operator, and back.

Where a layer says ``groups``, an operator says how many channels of the weight's axis 0 a group has
(of the input of a transposed convolution, of the output of a Conv1d). A shard of the layer, as
DTensor makes them, may have fewer groups, or only some of the channels of one group; the number of
channels of a group of the whole layer is the same for all shards.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from torch import Tensor

from fracstride.conv1d_geometry import AnyGeometry, Conv1dGeometry
from fracstride.torch.checks import (
    conv1d_geometry_of_call,
    geometry_of_call,
    groups_among,
)

__all__ = [
    "CONV1D_SIZES",
    "SIZES",
    "group_channels",
    "layer_of_signal",
    "layer_of_weight",
    "sizes_of",
]

#: The end of an operator's schema. ``output_padding`` may be a symbol of a graph.
SIZES = (
    "int stride, int padding_left, int padding_right, SymInt output_padding, int group_channels, "
    "int dilation, str padding_mode"
)
#: The same for a Conv1d.
CONV1D_SIZES = SIZES.replace("SymInt output_padding, ", "")
_Sizes = tuple[int, int, int, int, int, int, str] | tuple[int, int, int, int, int, str]


def layer_of_weight(w: Tensor, sizes: tuple[Any, ...]) -> tuple[AnyGeometry, int]:
    """The geometry, and the groups of a weight."""
    if w.dim() != 3:
        channels = "(C_in, C_out/groups, k)" if _is_transposed(sizes) else "(C_out, C_in/groups, k)"
        raise RuntimeError(f"weight must have the shape {channels}, got shape {tuple(w.shape)}")
    return _layer(w.shape[0], int(w.shape[2]), sizes)


def layer_of_signal(
    name: str, x: Tensor, kernel_size: int, sizes: tuple[Any, ...]
) -> tuple[AnyGeometry, int]:
    """The geometry, and the groups of the signal whose channels are the weight's axis 0."""
    if x.dim() != 3:
        raise RuntimeError(f"{name} must have the shape (B, C, length), got shape {tuple(x.shape)}")
    return _layer(x.shape[1], kernel_size, sizes)


def group_channels(sizes: tuple[Any, ...]) -> int:
    """Which of the sizes ``group_channels`` is."""
    count: int = sizes[-3]
    return count


def _is_transposed(sizes: tuple[Any, ...]) -> bool:
    """Which kind of layer the sizes are those of: a Conv1d has no output padding."""
    return len(sizes) == 7


def _layer(channels: int, kernel_size: int, sizes: tuple[Any, ...]) -> tuple[AnyGeometry, int]:
    stride, left, right, *more, per_group, dilation, mode = sizes
    if not more:
        pads = left, right
        conv1d = conv1d_geometry_of_call(kernel_size, stride, pads, dilation, mode)
        return conv1d, groups_among(channels, per_group)
    (a,) = more
    number = a if type(a) is int else 0
    geometry = geometry_of_call(kernel_size, stride, (left, right), number, dilation, mode)
    if a is not number:
        geometry = geometry.with_unchecked_output_padding(a)
    return geometry, groups_among(channels, per_group)


def sizes_of(geometry: AnyGeometry, channels: int, groups: int) -> _Sizes:
    """The last arguments of an operator, for a layer whose weight's axis 0 has so many channels."""
    # Both are symbols where torch.func.vmap counts the weights of a graph.
    per_group = int(int(channels) // groups)
    if isinstance(geometry, Conv1dGeometry) or type(geometry.total_output_padding) is int:
        return _cached(geometry, per_group)
    return _sizes(geometry, per_group)  # a symbol, which no cache can take


def _sizes(geometry: AnyGeometry, per_group: int) -> _Sizes:
    s, left, right = geometry.stride, geometry.padding_left, geometry.padding_right
    rest = per_group, geometry.dilation, geometry.padding_mode
    if isinstance(geometry, Conv1dGeometry):
        return s, left, right, *rest
    return s, left, right, geometry.total_output_padding, *rest


_cached = lru_cache(maxsize=1024)(_sizes)
