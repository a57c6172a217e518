"""A call as part of a graph, whose lengths may be symbols: for compilers and for exporters."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from fracstride.geometry import Geometry, geometry_of
from fracstride.torch import fallback
from fracstride.torch.checks import check_reach, geometry_of_call, groups_of_call, wanted_length
from fracstride.torch.dispatch import exporting, tracing

__all__ = ["batched", "in_a_graph"]


def in_a_graph(
    x: Tensor, w: Tensor, b: Tensor | None, sizes: tuple[Any, ...], groups: Any, output_size: Any
) -> Tensor:
    """One operator for a compiler; torch's own for exporters, who know no others.

    ``sizes`` are stride, padding, output padding, dilation and padding mode.
    """
    if x.dim() != 3:
        rows, wanted = batched(x, output_size)
        return in_a_graph(rows, w, b, sizes, groups, wanted).squeeze(0)
    if w.dim() != 3:
        raise RuntimeError(f"weight must have three dimensions, got shape {tuple(w.shape)}")
    k = _constant(w.shape[2])
    numbers = _numbers(k, *map(_constant, sizes))
    if output_size is not None:
        if isinstance(sizes[1], str) and sizes[1] != "valid":
            raise ValueError(f"output_size must be None with padding={sizes[1]!r}")
        output_size = wanted_length(output_size, 3)
    if exporting():
        return _by_torch(x, w, b, k, numbers, groups, output_size)
    stride, left, right, a, dilation, mode, overhang = numbers
    if output_size is not None:
        smallest = x.shape[2] * stride + overhang - a
        check_reach(output_size, smallest, stride, x.shape[2])
        a = output_size - smallest  # perhaps a symbol: one graph for all lengths
    channels = _constant(w.shape[0])
    group_channels = channels // groups_of_call(groups, channels)
    result: Tensor = torch.ops.fracstride.conv_transpose1d(
        x, w, b, stride, left, right, a, group_channels, dilation, mode
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
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    kernel_size: int,
    numbers: tuple[int, int, int, int, int, str, int],
    groups: Any,
    wanted: Any,
) -> Tensor:
    """The layer in torch's own operators, with a number for its output padding.

    Exporters take no symbol there. A smaller output is the beginning of a larger one, so the
    largest is cut to what is wanted: by an index, since a slice would tie the graph to lengths
    like the example's. Whether a symbol is within reach may not be known: too large an output then
    fails when the graph runs, and too small a one is the beginning.
    """
    stride, left, right, a, dilation, mode, overhang = numbers
    if wanted is not None:
        smallest = x.shape[2] * stride + overhang - a
        if tracing():
            check_reach(*_of_the_example(wanted, smallest, stride, x.shape[2]))
        elif _never_reached(wanted, smallest, stride):
            raise ValueError(
                f"output_size must be from {smallest} to {smallest + stride - 1} for input length "
                f"{x.shape[2]}, got {wanted}"
            )
        a = stride - 1
    geometry = _geometry(kernel_size, stride, (left, right), a, dilation, mode)
    y = fallback.forward(x, w, b, geometry, groups)
    return y if wanted is None else y.index_select(2, torch.arange(wanted, device=x.device))


def _of_the_example(*sizes: Any) -> list[int]:
    """The numbers that sizes have in the call that ``torch.jit.trace`` records."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "might not generalize": it is for this example alone
        return [int(size) for size in sizes]


def _never_reached(wanted: Any, smallest: Any, stride: int) -> bool:
    """Whether it is known of these sizes, numbers or symbols, without a guard."""
    from torch.fx.experimental.symbolic_shapes import statically_known_true  # slow to import

    return bool(
        statically_known_true(wanted < smallest)
        or statically_known_true(wanted >= smallest + stride)
    )


def _constant(size: Any) -> Any:
    """An int that was a symbol of the graph as a number; anything else as it is."""
    if type(size) not in (int, torch.SymInt):
        return size
    return len(range(size)) if size >= 0 else -len(range(-size))


def _numbers(k: int, *sizes: Any) -> tuple[int, int, int, int, int, str, int]:
    """Sizes in one form, and ``L_out - L*stride``, as constants of the graph."""
    g = geometry_of_call(k, *sizes)
    return (
        g.stride,
        g.padding_left,
        g.padding_right,
        g.total_output_padding,
        g.dilation,
        g.padding_mode,
        g.overhang,
    )


def _geometry(*sizes: Any) -> Geometry:
    return geometry_of(*sizes)


# What torch.compiler.assume_constant_result does, which imports the whole compiler to do it.
_numbers._dynamo_marked_constant = True  # type: ignore[attr-defined]
_geometry._dynamo_marked_constant = True  # type: ignore[attr-defined]
