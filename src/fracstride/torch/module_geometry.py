"""The sizes of torch's layers as this library's geometries."""

from __future__ import annotations

from typing import Any

from torch import nn

from fracstride.conv1d_geometry import AnyGeometry, conv1d_geometry_of
from fracstride.geometry import geometry_of

__all__ = ["geometry_of_module"]


def geometry_of_module(module: Any) -> AnyGeometry:
    """Of a ``ConvTranspose1d`` or a ``Conv1d``, torch's or this library's."""
    if isinstance(module, nn.Conv1d):
        return conv1d_geometry_of(
            module.kernel_size,
            module.stride,
            module.padding,
            module.dilation,
            module.padding_mode,
        )
    return geometry_of(
        module.kernel_size,
        module.stride,
        module.padding,
        module.output_padding,
        module.dilation,
        module.padding_mode,
    )
