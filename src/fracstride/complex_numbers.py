"""Complex signals and weights as real ones of twice the channels, for arrays and for tensors.

    [y_re]   [ w_re  -w_im ] [x_re]
    [y_im] = [ w_im   w_re ] [x_im]     group by group.

Each function takes, beside its operand, the one operation that NumPy and torch call differently:
``concatenate(pieces, axis)``, or ``complex_of(real, imag)``, which puts two real arrays together.
(``real + 1j * imag`` is something else: it makes NaN of what is infinite.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["join_signal", "join_weight_grad", "split_signal", "split_weight"]

Concatenate = Callable[[Any, int], Any]
ComplexOf = Callable[[Any, Any], Any]


def split_signal(x: Any, groups: int, concatenate: Concatenate) -> Any:
    """``(B, C, L)`` as ``(B, 2*C, L)``: by group, first the real parts, then the imaginary."""
    batch, channels, length = x.shape
    by_group = x.reshape(batch, groups, 1, channels // groups, length)
    parts = concatenate([by_group.real, by_group.imag], 2)
    return parts.reshape(batch, 2 * channels, length)


def join_signal(parts: Any, groups: int, complex_of: ComplexOf) -> Any:
    """The inverse of :func:`split_signal`."""
    batch, channels, length = parts.shape
    by_part = parts.reshape(batch, groups, 2, channels // (2 * groups), length)
    joined = complex_of(by_part[:, :, 0], by_part[:, :, 1])
    return joined.reshape(batch, channels // 2, length)


def split_weight(weight: Any, groups: int, concatenate: Concatenate) -> Any:
    """``(C_in, C_out/g, k)`` as the real matrix above, ``(2*C_in, 2*C_out/g, k)``."""
    channels, out, taps = weight.shape
    w = weight.reshape(groups, 1, channels // groups, 1, out, taps)
    re, im = w.real, w.imag
    rows = concatenate([concatenate([re, im], 3), concatenate([-im, re], 3)], 1)
    return rows.reshape(2 * channels, 2 * out, taps)


def join_weight_grad(parts: Any, groups: int, complex_of: ComplexOf) -> Any:
    """The bilinear ``R(x, gy)`` of complex signals from the real one of the split signals."""
    channels, out, taps = parts.shape
    p = parts.reshape(groups, 2, channels // groups // 2, 2, out // 2, taps)
    real = p[:, 0, :, 0] - p[:, 1, :, 1]
    imag = p[:, 0, :, 1] + p[:, 1, :, 0]
    return complex_of(real, imag).reshape(channels // 2, out // 2, taps)
