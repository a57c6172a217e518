"""How the arrays of a network's caller lie over its signals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fracstride.arrays import Array, DType
from fracstride.network.codes import as_numbers
from fracstride.network.layout import BATCH, TIME, Axes, Axis, Split, as_signal, as_tensor
from fracstride.network.value import Value

__all__ = ["Layouts"]


@dataclass(frozen=True)
class Layouts:
    """Axes of the inputs and of the outputs, as the model has them."""

    inputs: tuple[Axes, ...]
    outputs: tuple[Axes, ...]

    def signals(
        self, values: Sequence[Value], dtype: DType, given: Sequence[Any]
    ) -> list[tuple[Value, Array]]:
        """Each input as a signal ``(B, channels, L)``; lengths are not compared.

        Raises:
            TypeError, ValueError: an input has other axes, with what would fit.
        """
        found = []
        batch: tuple[str, int] | None = None
        for value, axes, x in zip(values, self.inputs, given, strict=True):
            name = value.name or "input"
            array = as_numbers(name, value.dtype(dtype), x)
            sizes = [axis.size if isinstance(axis, Split) else None for axis in axes]
            fits = array.ndim == len(axes) and all(
                size in (None, here) for size, here in zip(sizes, array.shape, strict=True)
            )
            if not fits:
                raise ValueError(f"{name} must have the shape {described(axes)}, got {array.shape}")
            if BATCH in axes:
                rows = array.shape[axes.index(BATCH)]
                if batch is not None and rows != batch[1]:
                    raise ValueError(
                        f"{name} must have the batch of {batch[0]}, {batch[1]}, got {rows}"
                    )
                batch = name, rows
            found.append((value, as_signal(array, axes)))
        rows = 1 if batch is None else batch[1]
        return [(v, np.broadcast_to(x, (rows, *x.shape[1:]))) for v, x in found]

    def arrays(self, outputs: Sequence[Array]) -> list[Array]:
        """The outputs with their axes."""
        return [as_tensor(out, axes) for out, axes in zip(outputs, self.outputs, strict=True)]


def described(axes: Axes) -> str:
    """Axes in a message: ``(B, 80, L)``."""

    def name(axis: Axis) -> str:
        if isinstance(axis, Split):
            return str(axis.size)
        return "L" if axis is TIME else "B"

    return f"({', '.join(map(name, axes))}{',' * (len(axes) == 1)})"
