"""What comes into a network from its caller, and the messages about what does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fracstride.arrays import Array, DType
from fracstride.network.codes import as_numbers
from fracstride.network.layouts import Layouts
from fracstride.network.value import Value

__all__ = ["Inputs"]


class Inputs:
    """The inputs that a network takes.

    Args:
        values: one for each.
        dtype: of the signals.
        least: ticks.
        layouts: axes of the inputs, where they are not ``(B, channels, L)``.
    """

    def __init__(
        self, values: Sequence[Value], dtype: DType, least: int, layouts: Layouts | None
    ) -> None:
        self._values, self._dtype, self.least = tuple(values), dtype, least
        self._layouts = layouts

    def check(self, inputs: Sequence[Any]) -> tuple[list[Any], int, bool]:
        """The inputs with a batch, the ticks that they last, and whether they have a batch.

        Raises:
            ValueError, TypeError: one does not fit, with what would.
        """
        if len(inputs) != len(self._values):
            raise TypeError(f"the network takes {self._described()}, got {len(inputs)} inputs")
        if self._layouts is not None:
            laid_out = self._layouts.signals(self._values, self._dtype, inputs)
            return [array for _, array in laid_out], self._clock(laid_out), True
        arrays: list[Any] = []
        for value, given in zip(self._values, inputs, strict=True):
            if value.is_signal:
                given = as_numbers(value.name or "input", value.dtype(self._dtype), given)
                self._check_shape(value, given)
            arrays.append(given)
        signals = [
            (value, array)
            for value, array in zip(self._values, arrays, strict=True)
            if value.is_signal
        ]
        first = signals[0][1]
        for value, array in signals:
            if array.shape[:-2] != first.shape[:-2]:
                raise ValueError(
                    f"{value.name} must have the batch of {signals[0][0].name}, "
                    f"{first.shape[:-2]}, got shape {array.shape}"
                )
        clock = self._clock(signals)
        batched = first.ndim == 3
        if not batched:
            arrays = [
                x[None] if v.is_signal else x for v, x in zip(self._values, arrays, strict=True)
            ]
        return arrays, clock, batched

    def _check_shape(self, value: Value, array: Array) -> None:
        if array.ndim not in (2, 3) or array.shape[-2] != value.channels:
            raise ValueError(
                f"{value.name} must have the shape (B, {value.channels}, L) or "
                f"({value.channels}, L), got shape {array.shape}"
            )

    def _clock(self, signals: Sequence[tuple[Value, Array]]) -> int:
        """The ticks that these last."""
        clock = None
        for value, array in signals:
            per_tick, length = int(value.rate), array.shape[-1]
            if per_tick == 0:
                if length != 1:
                    raise ValueError(f"{value.name} has no time: L must be 1, got {length}")
                continue
            ticks, rest = divmod(length, per_tick)
            if rest or clock not in (None, ticks):
                wanted = f"a multiple of {per_tick}" if clock is None else str(per_tick * clock)
                raise ValueError(f"the length of {value.name} must be {wanted}, got {length}")
            clock = ticks
        clock = 1 if clock is None else clock
        if clock < self.least:
            value = next(v for v, _ in signals if v.rate)
            raise ValueError(
                f"the length of {value.name} must be at least {int(value.rate) * self.least} for "
                f"this network, got {int(value.rate) * clock}"
            )
        return clock

    def _described(self) -> str:
        names = [value.name or "a signal" for value in self._values]
        return f"{len(names)} inputs ({', '.join(names)})" if len(names) > 1 else "one input"
