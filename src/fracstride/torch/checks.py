"""Sizes and shapes of tensors: what a call must fulfil before anything is computed.

The numbers come from :mod:`fracstride.geometry`; here they meet tensors, whose lengths may be
symbols while torch compiles. What torch raises ``RuntimeError`` for raises it here too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fracstride import lengths
from fracstride.checks import check_groups
from fracstride.conv1d_geometry import AnyGeometry, Conv1dGeometry, conv1d_geometry_of
from fracstride.extension import PADDING_MODES
from fracstride.geometry import Geometry, geometry_of

__all__ = [
    "channels_of",
    "check_forward",
    "check_input_grad",
    "check_weight_grad",
    "conv1d_geometry_of_call",
    "geometry_of_call",
    "groups_among",
    "groups_of_call",
    "output_length",
    "shape_of_weight",
    "wanted_length",
    "with_wanted_length",
]


def geometry_of_call(
    kernel_size: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    dilation: Any,
    padding_mode: Any,
) -> Geometry:
    """The geometry of a call; what does not fit is a ``RuntimeError`` as in torch.

    (``TypeError`` for a wrong type, and ``ValueError`` for a padding mode that there is not.)
    """
    try:
        return geometry_of(kernel_size, stride, padding, output_padding, dilation, padding_mode)
    except ValueError as error:
        if padding_mode not in PADDING_MODES:
            raise
        raise RuntimeError(str(error)) from None


def conv1d_geometry_of_call(
    kernel_size: Any, stride: Any, padding: Any, dilation: Any, padding_mode: Any
) -> Conv1dGeometry:
    """As :func:`geometry_of_call`, of a Conv1d."""
    try:
        return conv1d_geometry_of(kernel_size, stride, padding, dilation, padding_mode)
    except ValueError as error:
        if padding_mode not in PADDING_MODES:
            raise
        raise RuntimeError(str(error)) from None


def groups_of_call(groups: Any, channels: int, name: str = "in_channels") -> int:
    """``groups`` as an int that divides ``channels``, else a ``RuntimeError`` as in torch.

    ``name`` is what its message calls the channels.
    """
    if type(groups) is int and groups > 0 and channels > 0 and channels % groups == 0:
        return groups
    try:
        return check_groups(groups, **{name: channels})
    except ValueError as error:
        raise RuntimeError(str(error)) from None


def wanted_length(output_size: Any, dimensions: int) -> Any:
    """``L_out`` out of an ``output_size``: an int, ``(L_out,)`` or the whole shape of an output.

    ``ValueError``, as in torch, for a number of entries that is not 1 or the output's dimensions.

    >>> wanted_length((2, 64, 100), dimensions=3)
    100
    """
    if not isinstance(output_size, (tuple, list)):
        return output_size
    if len(output_size) not in (1, dimensions):
        raise ValueError(
            f"output_size must be an int, (L_out,) or a shape of {dimensions} entries as the "
            f"output has dimensions, got {output_size!r}"
        )
    return output_size[-1]


def with_wanted_length(geometry: Geometry, length: Any, wanted: Any) -> Geometry:
    """The geometry that makes ``wanted`` samples of ``length`` frames, either perhaps a symbol."""
    if torch.SymInt not in (type(length), type(wanted)):
        return geometry.with_output_size(length, wanted)
    lengths.check_no_output_size(geometry.padding, wanted)
    a = lengths.output_padding_for(length, wanted, geometry.stride, geometry.bare_overhang)
    return geometry.with_unchecked_output_padding(a)


def groups_among(channels: int, group_channels: int) -> int:
    """The groups that so many input channels are, of which a group has ``group_channels``.

    Fewer channels than a group has are a part of one. ``RuntimeError`` if they do not fit.
    """
    if group_channels < 1:
        raise RuntimeError(f"group_channels must be a positive int, got {group_channels}")
    if channels <= group_channels:
        return 1
    if channels % group_channels:
        raise RuntimeError(
            f"group_channels must divide the input channels, {channels}, got {group_channels}"
        )
    return int(channels // group_channels)


def output_length(geometry: AnyGeometry, L: int) -> int:
    """The output's length for an input of ``L``, an int or a symbol.

    ``RuntimeError`` if nothing is left.
    """
    if type(L) is int:
        try:
            return geometry.output_length(L)
        except ValueError as error:
            raise RuntimeError(str(error)) from None
    # L is a symbol.
    length: int
    if isinstance(geometry, Geometry):
        length = lengths.output_length(L, geometry.stride, geometry.overhang)
    else:
        s, pads = geometry.stride, geometry.padding_left + geometry.padding_right
        length = lengths.conv1d_positions(L + pads, s, geometry.span)
    torch._check(length > 0, lambda: f"input length L leaves no sample with {geometry}")
    return length


def channels_of(w: Tensor, geometry: AnyGeometry, groups: int) -> tuple[int, int]:
    """Channels of the input and of the output, by a weight."""
    first, second = w.shape[0], w.shape[1] * groups
    return (first, second) if geometry.is_transposed else (second, first)


def shape_of_weight(geometry: AnyGeometry) -> str:
    """What the axes of a weight are, for messages."""
    return "(C_in, C_out/groups, k)" if geometry.is_transposed else "(C_out, C_in/groups, k)"


def check_forward(
    x: Tensor, w: Tensor, b: Tensor | None, geometry: AnyGeometry, groups: int
) -> int:
    """The output's length, once ``x (B, C_in, L)``, ``w`` and ``b (C_out,)`` fit.

    ``w`` has three dimensions: ``(C_in, C_out/g, k)``, of a Conv1d ``(C_out, C_in/g, k)``.
    """
    (first, second, k), given = w.shape, x.shape
    channels, out_channels = first, second * groups
    if not geometry.is_transposed:
        channels, out_channels = out_channels, channels
    dtype, device = x.dtype, x.device
    if not (  # the usual case in one go
        len(given) == 3
        and given[1] == channels > 0
        and second > 0
        and groups > 0
        and k == geometry.kernel_size
        and first % groups == 0
        and dtype == w.dtype
        and device == w.device
    ):
        _check_weight(w, geometry, groups)
        _check_signal("input", x, channels)
        _check_alike("input", x, "weight", w)
    if b is not None:
        if b.shape != (out_channels,):
            raise RuntimeError(
                f"bias must have the shape ({out_channels},) for a weight of shape "
                f"{_shape(w)} in {groups} groups, got shape {_shape(b)}"
            )
        if dtype != b.dtype or device != b.device:
            _check_alike("input", x, "bias", b)
    return output_length(geometry, given[2])


def check_input_grad(gy: Tensor, w: Tensor, L: int, geometry: AnyGeometry, groups: int) -> None:
    """Raise ``RuntimeError`` unless the gradient of an input of length ``L`` can be computed."""
    _check_weight(w, geometry, groups)
    _check_signal("grad_output", gy, channels_of(w, geometry, groups)[1])
    _check_alike("grad_output", gy, "weight", w)
    _check_length(gy, output_length(geometry, L))


def check_weight_grad(x: Tensor, gy: Tensor, geometry: AnyGeometry, groups: int) -> None:
    """Raise ``RuntimeError`` unless the gradient of the weight can be computed."""
    _check_signal("input", x, None)
    _check_signal("grad_output", gy, None)
    _check_alike("input", x, "grad_output", gy)
    if x.shape[0] != gy.shape[0]:
        raise RuntimeError(
            f"grad_output must have the batch of input, shape {_shape(x)}, got {_shape(gy)}"
        )
    groups_of_call(groups, x.shape[1])
    groups_of_call(groups, gy.shape[1], "out_channels")
    _check_length(gy, output_length(geometry, x.shape[2]))


def _check_weight(w: Tensor, geometry: AnyGeometry, groups: int) -> None:
    shape = w.shape
    if len(shape) != 3 or 0 in shape:
        raise RuntimeError(
            f"weight must have the shape {shape_of_weight(geometry)} with no size 0, "
            f"got shape {_shape(w)}"
        )
    if shape[2] != geometry.kernel_size:
        raise RuntimeError(f"weight must have {geometry.kernel_size} taps, got shape {_shape(w)}")
    groups_of_call(groups, shape[0], "in_channels" if geometry.is_transposed else "out_channels")


def _check_signal(name: str, x: Tensor, channels: int | None) -> None:
    if x.dim() != 3 or (channels is not None and x.shape[1] != channels):
        wanted = "C" if channels is None else channels
        raise RuntimeError(
            f"{name} must have the shape (B, {wanted}, length), got shape {_shape(x)}"
        )


def _check_alike(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    if tensor.dtype != other.dtype or tensor.device != other.device:
        raise RuntimeError(
            f"{other_name} must have the dtype and device of {name}, {tensor.dtype} on "
            f"{tensor.device}, got {other.dtype} on {other.device}"
        )


def _check_length(gy: Tensor, length: int) -> None:
    if gy.shape[2] != length:
        raise RuntimeError(f"grad_output must have length {length}, got shape {_shape(gy)}")


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)
