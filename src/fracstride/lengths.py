"""The formulas of lengths, of numbers alone.

Lengths may be symbols of a compiler's graph in place of ints: the same formulas serve
:class:`fracstride.Geometry`, which checks its arguments first, and graphs.
They are functions, since compilers do not follow methods of an object that is a constant to them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fracstride.arguments import check_fits

__all__ = [
    "check_no_output_size",
    "conv1d_output_length",
    "conv1d_positions",
    "output_length",
    "output_padding_for",
]


def output_length(L: Any, stride: int, overhang: Any) -> Any:
    """``L_out`` of ``L`` frames; ``overhang`` is what ``Geometry.overhang`` is.

    >>> output_length(3, stride=2, overhang=1)
    7
    """
    return L * stride + overhang


def output_padding_for(
    L: Any, wanted: Any, stride: int, overhang: Any, known: Callable[[Any], bool] = bool
) -> Any:
    """The output padding in ``[0, stride)`` that makes ``wanted`` samples of ``L`` frames.

    ``overhang`` is ``Geometry.bare_overhang``. ``known`` tells whether a comparison of lengths
    is known to be true; a ``ValueError`` says when ``wanted`` is known to be out of reach.

    >>> output_padding_for(3, 8, stride=2, overhang=1)
    1
    """
    smallest = output_length(L, stride, overhang)
    if known(wanted < smallest) or known(wanted >= smallest + stride):
        least = 1 if known(smallest < 1) else smallest
        raise ValueError(
            f"output_size must be from {least} to {smallest + stride - 1} for input length {L}, "
            f"got {wanted}"
        )
    return wanted - smallest


def check_no_output_size(padding: object, output_size: object) -> None:
    """Raise ``ValueError`` where the padding of a geometry leaves no choice of the length."""
    if isinstance(padding, str):
        raise ValueError(
            f"output_size must be None with padding={padding!r}, which makes "
            f"L_out = L*stride by itself, got {output_size!r}"
        )


def conv1d_output_length(
    length: int,
    kernel_size: int,
    stride: int,
    padding: tuple[int, int],
    dilation: int,
    name: str = "length",
) -> int:
    """What a *Conv1d* makes of ``length``: ``(length + left + right - span)//stride + 1``.

    ``ValueError`` if the kernel does not fit into the padded input once; ``name`` is what its
    message calls the length. Sizes are trusted.

    >>> conv1d_output_length(10, kernel_size=3, stride=2, padding=(1, 1), dilation=1)
    5
    """
    span = dilation * (kernel_size - 1) + 1
    padded = check_fits("the length with its padding", length + padding[0] + padding[1])
    if padded < span:
        raise ValueError(
            f"{name} must be at least {span - padding[0] - padding[1]} for a kernel that spans "
            f"{span} with padding {padding}, got {length}"
        )
    return int(conv1d_positions(padded, stride, span))


def conv1d_positions(padded: Any, stride: int, span: int) -> Any:
    """At how many positions a kernel that covers ``span`` fits into ``padded`` frames.

    >>> conv1d_positions(12, stride=2, span=3)
    5
    """
    return (padded - span) // stride + 1
