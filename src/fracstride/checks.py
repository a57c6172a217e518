"""Whether operands fit a layer: shapes, groups, where a result goes.

Each check raises a ``ValueError`` (``TypeError`` for a wrong type) that names the argument, what it
got and what would be right.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike

from fracstride.arguments import as_size
from fracstride.arrays import Array, DType
from fracstride.conv1d_geometry import AnyGeometry, Conv1dGeometry

__all__ = [
    "check_bias",
    "check_call",
    "check_channels",
    "check_groups",
    "check_length",
    "check_out",
    "check_rank",
    "check_same_batch",
    "check_slope",
    "check_weight",
]

_OVERLAP_WORK = 100_000  # steps of NumPy's exact overlap test before an overlap is assumed


def check_weight(weight: Array, *, of_conv1d: bool = False) -> None:
    """Raise ValueError unless the weight has the shape of one."""
    if weight.ndim != 3 or 0 in weight.shape:
        wanted = "weight must have the shape (C_in, C_out/groups, k)"
        if of_conv1d:
            wanted = "weight of a Conv1d must have the shape (C_out, C_in/groups, k)"
        raise ValueError(f"{wanted} with no size 0, got shape {weight.shape}")


def check_bias(bias: Array, out_channels: int) -> None:
    """Raise ValueError unless the bias has one value per output channel."""
    if bias.shape != (out_channels,):
        raise ValueError(f"bias must have the shape ({out_channels},), got shape {bias.shape}")


def check_groups(groups: object, **channels: int) -> int:
    """``groups`` as an int that divides each of the named numbers of channels, else ValueError."""
    count = as_size("groups", groups, 1)
    for name, number in channels.items():
        if number < 1 or number % count:
            raise ValueError(f"groups must divide {name} = {number}, got {count}")
    return count


def check_call(
    x: Array,
    in_channels: int,
    geometry: AnyGeometry,
    output_size: int | Sequence[int] | None = None,
) -> int:
    """``L_out``, once the input is known to fit; a Conv1d has no output size to choose."""
    check_rank("input", x)
    check_channels("input", x, in_channels)
    if output_size is None or isinstance(geometry, Conv1dGeometry):
        return geometry.output_length(x.shape[-1])
    return geometry.output_length(x.shape[-1], output_size)


def check_rank(name: str, array: Array) -> None:
    """Raise ValueError unless a signal has a batch, channels and a length, or the last two."""
    if array.ndim not in (2, 3):
        raise ValueError(
            f"{name} must have the shape (batch, channels, length) or (channels, length), "
            f"got shape {array.shape}"
        )


def check_channels(name: str, array: Array, channels: int) -> None:
    """Raise ValueError unless a signal has the channels that the weight has."""
    if array.shape[-2] != channels:
        raise ValueError(
            f"{name} must have {channels} channels as the weight has, got shape {array.shape}"
        )


def check_length(name: str, array: Array, length: int) -> None:
    """Raise ValueError unless a signal is so long."""
    if array.shape[-1] != length:
        raise ValueError(f"{name} must have length {length}, got shape {array.shape}")


def check_same_batch(x: Array, grad_output: Array) -> None:
    """Raise ValueError unless both signals have the same batch, or none."""
    if x.shape[:-2] != grad_output.shape[:-2]:
        raise ValueError(
            f"grad_output must have the batch of input, shape {x.shape}, "
            f"got shape {grad_output.shape}"
        )


def check_slope(slope: object, dtype: DType) -> float:
    """The slope as it is in the dtype, else ``TypeError`` or ``ValueError``."""
    if dtype.kind == "c":
        raise TypeError(f"negative_slope must be None for a layer of {dtype}, got {slope!r}")
    if isinstance(slope, (bool, np.bool_)) or not isinstance(slope, Real):
        raise TypeError(f"negative_slope must be a number or None, got {slope!r}")
    try:
        with np.errstate(over="ignore"):
            value = float(dtype.type(float(slope)))
    except OverflowError:
        value = np.inf
    if not np.isfinite(value):
        raise ValueError(f"negative_slope must be finite as {dtype}, got {slope!r}")
    return value


def check_out(
    out: object, shape: tuple[int, ...], dtype: DType, operands: tuple[ArrayLike | None, ...]
) -> None:
    """Raise ``TypeError`` or ``ValueError`` unless a result can go there."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, got {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"out must have the shape {shape}, got {out.shape}")
    if out.dtype.newbyteorder("=") != dtype:
        raise TypeError(f"out must have the dtype {dtype}, got {out.dtype}")
    if not out.flags.writeable:
        raise ValueError("out must be writable, got a read-only array")
    for operand in operands:
        if isinstance(operand, np.ndarray) and _overlap(out, operand):
            raise ValueError("out must not overlap an operand in memory")


def _overlap(a: Array, b: Array) -> bool:
    if not np.may_share_memory(a, b):
        return False
    try:
        return np.shares_memory(a, b, _OVERLAP_WORK)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True
