"""A call as part of a graph, whose lengths may be symbols: for compilers and for exporters."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from fracstride.conv1d_geometry import Conv1dGeometry
from fracstride.geometry import Geometry
from fracstride.lengths import check_no_output_size, output_padding_for
from fracstride.torch import fallback
from fracstride.torch.checks import (
    conv1d_geometry_of_call,
    geometry_of_call,
    groups_of_call,
    wanted_length,
)
from fracstride.torch.dispatch import exporting, tracing
from fracstride.torch.dtensor_calls import is_dtensor

__all__ = ["batched", "conv1d_in_a_graph", "in_a_graph"]


def in_a_graph(
    x: Tensor, w: Tensor, b: Tensor | None, sizes: tuple[Any, ...], groups: Any, output_size: Any
) -> Tensor:
    """One operator for a compiler; torch's own for exporters, which know no others.

    ``sizes`` are stride, padding, output padding, dilation and padding mode.
    """
    if x.dim() != 3:
        rows, wanted = batched(x, output_size)
        return in_a_graph(rows, w, b, sizes, groups, wanted).squeeze(0)
    if w.dim() != 3:
        raise RuntimeError(f"weight must have three dimensions, got shape {tuple(w.shape)}")
    geometry = _geometry(_constant(w.shape[2]), *map(_constant, sizes))
    if output_size is not None:
        check_no_output_size(geometry.padding, output_size)
        output_size = wanted_length(output_size, 3)
    if exporting():
        return _by_torch(x, w, b, geometry, groups, output_size)
    a = geometry.total_output_padding
    if output_size is not None:  # perhaps a symbol: one graph for all lengths
        a = output_padding_for(x.shape[2], output_size, geometry.stride, geometry.bare_overhang)
    channels = _constant(w.shape[0])
    group_channels = channels // groups_of_call(groups, channels)
    result: Tensor = torch.ops.fracstride.conv_transpose1d(
        x,
        w,
        b,
        geometry.stride,
        geometry.padding_left,
        geometry.padding_right,
        a,
        group_channels,
        geometry.dilation,
        geometry.padding_mode,
    )
    return result


def conv1d_in_a_graph(
    x: Tensor, w: Tensor, b: Tensor | None, sizes: tuple[Any, ...], groups: Any, output_size: None
) -> Tensor:
    """:func:`in_a_graph` for a Conv1d, which has no output padding and no output size.

    Devices without kernels get torch's own operator, if nothing has to be folded in its derivative.
    (Not for DTensors, which torch 2.13 convolves wrongly.)
    """
    if x.dim() != 3:
        rows, _ = batched(x, None)
        return conv1d_in_a_graph(rows, w, b, sizes, groups, None).squeeze(0)
    if w.dim() != 3:
        raise RuntimeError(f"weight must have three dimensions, got shape {tuple(w.shape)}")
    geometry = _conv1d_geometry(_constant(w.shape[2]), *map(_constant, sizes))
    elsewhere = x.device.type != "cpu" and not is_dtensor(x, w)
    if exporting() or (elsewhere and geometry.padding_mode == "zeros"):
        return fallback.forward(x, w, b, geometry, groups)
    channels = _constant(w.shape[0])
    groups = groups_of_call(groups, channels, "out_channels")
    result: Tensor = torch.ops.fracstride.conv1d(
        x,
        w,
        b,
        geometry.stride,
        geometry.padding_left,
        geometry.padding_right,
        channels // groups,
        geometry.dilation,
        geometry.padding_mode,
    )
    return result


def batched(input: Tensor, output_size: Any) -> tuple[Tensor, Any]:
    """An input with a batch of one, and the output size that goes with it."""
    if input.dim() != 2:
        raise RuntimeError(
            "input must have the shape (batch, channels, length) or (channels, length), "
            f"got shape {tuple(input.shape)}"
        )
    wanted = None if output_size is None else wanted_length(output_size, 2)
    return input.unsqueeze(0), wanted


def _by_torch(
    x: Tensor, w: Tensor, b: Tensor | None, geometry: Geometry, groups: Any, wanted: Any
) -> Tensor:
    """The layer in torch's own operators, with a number for its output padding.

    Exporters take no symbol there. A smaller output is the beginning of a larger one, so the
    largest is cut to what is wanted: by an index, since a slice would tie the graph to lengths
    like the example's. Whether a symbol is within reach may not be known: too large an output then
    fails when the graph runs, and too small a one is the beginning.
    """
    if wanted is None:
        return fallback.forward(x, w, b, geometry, groups)
    s, d = geometry.stride, geometry.dilation
    overhang = geometry.bare_overhang
    if tracing():
        length, number = _of_the_example(x.shape[2], wanted)
        output_padding_for(length, number, s, overhang)
    else:
        output_padding_for(x.shape[2], wanted, s, overhang, _known)
    pads = geometry.padding_left, geometry.padding_right
    longest = _geometry(geometry.kernel_size, s, pads, s - 1, d, geometry.padding_mode)
    y = fallback.forward(x, w, b, longest, groups)
    return y.index_select(2, torch.arange(wanted, device=x.device))


def _of_the_example(*sizes: Any) -> list[int]:
    """The numbers that sizes have in the call that ``torch.jit.trace`` records."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "might not generalize": it is for this example alone
        return [int(size) for size in sizes]


def _known(comparison: Any) -> bool:
    """Whether a comparison of sizes, numbers or symbols, is known to be true, without a guard."""
    from torch.fx.experimental.symbolic_shapes import statically_known_true  # slow to import

    return bool(statically_known_true(comparison))


def _constant(size: Any) -> Any:
    """An int that was a symbol of the graph as a number; anything else as it is."""
    if type(size) not in (int, torch.SymInt):
        return size
    return len(range(size)) if size >= 0 else -len(range(-size))


def _geometry(*sizes: Any) -> Geometry:
    """A geometry as a constant of the graph."""
    return geometry_of_call(*sizes)


def _conv1d_geometry(*sizes: Any) -> Conv1dGeometry:
    """The same for a Conv1d."""
    return conv1d_geometry_of_call(*sizes)


# What torch.compiler.assume_constant_result does, which imports the whole compiler to do it.
_geometry._dynamo_marked_constant = True  # type: ignore[attr-defined]
_conv1d_geometry._dynamo_marked_constant = True  # type: ignore[attr-defined]
