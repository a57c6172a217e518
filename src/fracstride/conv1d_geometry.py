"""The sizes of a *Conv1d*, whose adjoint the transposed convolution is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fracstride.arguments import PADDING_FORMS, check_fits, one_size, padding_pair
from fracstride.geometry import Geometry

__all__ = ["conv1d_geometry", "conv1d_padding"]


def conv1d_padding(
    padding: int | Sequence[int] | str, kernel_size: int, stride: int = 1, dilation: int = 1
) -> tuple[int, int]:
    """The padding of a *Conv1d* as frames ``(left, right)`` added to its input.

    An int, ``(p,)``, ``(left, right)``, ``"valid"`` (none), ``"same"`` (``d*(k - 1)`` in all, the
    odd one on the right as in torch, stride 1 only) or ``"causal"`` (``d*(k - 1)`` on the left).
    ``TypeError`` or ``ValueError`` for anything else.

    >>> conv1d_padding("same", kernel_size=4), conv1d_padding("causal", kernel_size=4)
    ((1, 2), (3, 0))
    """
    k, s = one_size("kernel_size", kernel_size, 1), one_size("stride", stride, 1)
    total = one_size("dilation", dilation, 1) * (k - 1)
    if not isinstance(padding, str):
        return padding_pair(padding)
    check_fits("dilation*(kernel_size - 1)", total)
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return total, 0
    if padding != "same":
        raise ValueError(f"padding must be {PADDING_FORMS}, got {padding!r}")
    if s != 1:
        raise ValueError(f"stride must be 1 for a Conv1d with padding='same', got {s}")
    return total // 2, total - total // 2


def conv1d_geometry(
    kernel_size: Any,
    padding: int | Sequence[int] | str = 0,
    dilation: Any = 1,
    padding_mode: str = "zeros",
) -> Geometry:
    """The transposed convolution that a stride-1 *Conv1d* is, with taps flipped, channels swapped.

    Tap ``m`` of a Conv1d reads frame ``n + m*d - left``; flipped, it is tap ``k - 1 - m`` of frame
    ``t = n + m*d - left``, so ``p_l = d*(k - 1) - left``. More than ``d*(k - 1)`` is a
    ``ValueError``: samples that no tap reaches.

    >>> conv1d_geometry(4, "causal").padding
    (0, 3)
    """
    left, right = conv1d_padding(padding, kernel_size, 1, dilation)
    most = Geometry(kernel_size, dilation=dilation).span - 1
    if max(left, right) > most:
        raise ValueError(
            f"padding of a Conv1d must be at most dilation*(kernel_size - 1) = {most} on a side, "
            f"got ({left}, {right})"
        )
    return Geometry(
        kernel_size,
        padding=(most - left, most - right),
        dilation=dilation,
        padding_mode=padding_mode,
    )
