"""Axes of a framework's tensors over the signals of a network.

A signal of a network has the axes (batch, channels, time). A framework's tensor shows the same
numbers with its axes in another order, its channels split into several axes, or axes of one
position more. A :class:`View` says which; transposing and reshaping a tensor changes the view and
moves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np

from fracstride.arrays import Array
from fracstride.network.value import Value

__all__ = [
    "BATCH",
    "TIME",
    "Axes",
    "Axis",
    "Split",
    "View",
    "as_signal",
    "as_tensor",
    "channel_indices",
    "is_plain",
    "pattern",
    "split",
]


@dataclass(frozen=True)
class Split:
    """An axis of channels: position ``i`` is ``i*step`` channels further on."""

    size: int
    step: int


@dataclass(frozen=True)
class _Named:
    name: str

    def __repr__(self) -> str:
        return self.name


BATCH, TIME = _Named("batch"), _Named("time")

Axis: TypeAlias = "Split | _Named"
Axes: TypeAlias = "tuple[Axis, ...]"


@dataclass(frozen=True, eq=False)
class View:
    """A signal or constant of a network as a framework's tensor shows it."""

    value: Value
    axes: Axes

    @property
    def channel_indices(self) -> Array:
        """The channels that the axes of channels show, in their order."""
        return channel_indices(self.axes)

    @property
    def is_plain(self) -> bool:
        """Whether its axes show every channel once, in order."""
        indices = self.channel_indices
        return indices.size == self.value.channels and bool(
            (indices == np.arange(indices.size)).all()
        )


def channel_indices(axes: Axes) -> Array:
    """The channels that the axes of channels show, first axis slowest."""
    indices = np.zeros(1, np.int64)
    for axis in axes:
        if isinstance(axis, Split):
            indices = (indices[:, None] + axis.step * np.arange(axis.size)).reshape(-1)
    return indices


def split(*sizes: int | Axis) -> Axes:
    """Axes in which ints are sizes of axes of channels, in order.

    >>> split(BATCH, 2, TIME, 3)
    (batch, Split(size=2, step=3), time, Split(size=3, step=1))
    """
    step = int(np.prod([size for size in sizes if isinstance(size, int)], dtype=np.int64))
    axes: list[Axis] = []
    for size in sizes:
        if isinstance(size, int):
            step //= max(size, 1)
            axes.append(Split(size, step))
        else:
            axes.append(size)
    return tuple(axes)


def is_plain(axes: Axes) -> bool:
    """Whether a tensor with these axes is a signal ``(B, channels, L)`` as it is.

    >>> is_plain(split(BATCH, 3, TIME)), is_plain(split(BATCH, TIME, 3))
    (True, False)
    """
    first, *middle, last = axes if len(axes) == 3 else (None, None)
    return first is BATCH and last is TIME and isinstance(middle[0], Split) and middle[0].step == 1


def as_signal(tensor: Array, axes: Axes) -> Array:
    """``(B, channels, L)`` of a tensor with these axes, which are those of :func:`split`."""
    order = [i for i, axis in enumerate(axes) if axis is BATCH]
    order += [i for i, axis in enumerate(axes) if isinstance(axis, Split)]
    order += [i for i, axis in enumerate(axes) if axis is TIME]
    moved = tensor.transpose(order)
    batch = moved.shape[0] if BATCH in axes else 1
    length = moved.shape[-1] if TIME in axes else 1
    channels = prod(axis.size for axis in axes if isinstance(axis, Split))
    signal: Array = moved.reshape(batch, channels, length)
    return signal


def as_tensor(signal: Array, axes: Axes) -> Array:
    """A view of ``(B, channels, L)`` with these axes."""
    batch_stride, channel_stride, time_stride = signal.strides
    sizes: list[int] = []
    strides: list[int] = []
    for axis in axes:
        if isinstance(axis, Split):
            sizes.append(axis.size)
            strides.append(axis.step * channel_stride)
        else:
            sizes.append(signal.shape[0 if axis is BATCH else 2])
            strides.append(batch_stride if axis is BATCH else time_stride)
    view: Array
    if signal.flags.c_contiguous and min(strides, default=0) >= 0:  # of which this is quicker
        view = np.ndarray(sizes, signal.dtype, signal, 0, strides)
    else:
        view = np.lib.stride_tricks.as_strided(signal, sizes, strides)
    return view


def pattern(view: View, letters: str) -> bool:
    """Whether the axes are these: B, C and T; one position may stand for an axis that is absent."""
    axes = list(view.axes)
    wanted: Sequence[Any] = [{"B": BATCH, "C": None, "T": TIME}[letter] for letter in letters]
    if len(axes) != len(wanted):
        return False
    for axis, want in zip(axes, wanted, strict=True):
        unit = isinstance(axis, Split) and axis.size == 1
        if want is None:
            if not isinstance(axis, Split):
                return False
        elif axis is not want and not (unit and want not in axes):
            return False
    return True
