"""Elementwise functions as streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fracstride.arguments import as_size
from fracstride.arrays import Array
from fracstride.streaming.pieces import cut, detached, filled
from fracstride.streaming.rows import alike
from fracstride.streaming.stream import Stream, check_state

__all__ = ["Identity", "Pointwise"]


class Pointwise(Stream):
    """An elementwise function of the signal, such as an activation or a gate.

    Args:
        function: called with each chunk, of no frames too. A sample of its result may depend on the
            samples of all channels at the same time, and on no others. The result must have the
            chunk's shape, but for the channels if ``out_channels`` is given. The function must not
            write into the chunk, which other branches of a :class:`Sum` may be reading. Where rows
            are at different progress, it also gets zeros in the place of what a row does not have.
        out_channels: channels of the result, for a function that changes their number.
        in_channels: channels of a chunk, if only one number of them will do.

    Raises:
        TypeError, ValueError: ``function`` cannot be called, or a number of channels is none.

    >>> import numpy as np
    >>> Pointwise(np.tanh).push(np.zeros((1, 2, 3))).shape
    (1, 2, 3)
    >>> def gate(x):
    ...     a, b = np.split(x, 2, axis=-2)
    ...     return a / (1 + np.exp(-b))
    >>> Pointwise(gate, out_channels=2).push(np.zeros((1, 4, 3))).shape
    (1, 2, 3)
    """

    independent_rows = True
    stateless = True
    at_once = True
    set_by_first_chunk = ("_empty_result", "_going", "_empty_result_before")

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        out_channels: int | None = None,
        in_channels: int | None = None,
    ) -> None:
        if not callable(function):
            raise TypeError(f"function must be callable, got {function!r}")
        self.function = function
        self.keeps_channels = out_channels is None
        if in_channels is not None:
            self.in_channels = self.out_channels = as_size("in_channels", in_channels, 1)
        if out_channels is not None:
            self.out_channels = as_size("out_channels", out_channels, 1)
        self._empty_result: Any = None  # of the signal that goes on; None before its first chunk
        self._going: Array | None = None  # the rows in which it goes on; None for all of them
        self._empty_result_before: Any = None  # of the signal before it

    def final_length(self, frames: int) -> int:
        return frames

    def advance(self, chunk: Any, last: bool) -> Any:
        result = self._empty_result if chunk is None else self._apply(chunk)
        if last:
            self.clear()
        else:
            self._going = None
        return result

    def _apply(self, chunk: Any) -> Any:
        self.check_chunk(chunk)
        result = self.function(chunk)
        shape = getattr(result, "shape", None)
        if shape != chunk.shape or not self.keeps_channels:
            self.check_result(chunk.shape, shape, type(result))
        if self._empty_result is None:
            self._empty_result = cut(detached(result), result.shape[-1])
        return result

    def check_chunk(self, chunk: Any) -> None:
        """Raise ValueError or TypeError unless the function may be called with it."""
        shape = getattr(chunk, "shape", None)
        if shape is None:
            raise TypeError(f"chunk must be an array, got {type(chunk).__name__}")
        if len(shape) not in (2, 3):
            raise ValueError(
                "chunk must have the shape (batch, channels, frames) or (channels, frames), "
                f"got shape {tuple(shape)}"
            )
        if self.in_channels not in (None, shape[-2]):
            raise ValueError(
                f"chunk must have {self.in_channels} channels, got shape {tuple(shape)}"
            )

    def check_result(self, given: Any, shape: Any, kind: type) -> None:
        """Raise ValueError unless the function may make this of a chunk of shape ``given``."""
        wanted = tuple(given)
        if not self.keeps_channels:
            wanted = (*wanted[:-2], self.out_channels, wanted[-1])
        if shape is None or tuple(shape) != wanted:
            made = kind if shape is None else tuple(shape)
            problem = f"it made {made} of a chunk of shape {tuple(given)}"
            if self.keeps_channels:
                raise ValueError(
                    f"function must be elementwise: {problem}. If it changes the number of "
                    "channels, give out_channels="
                )
            raise ValueError(f"function must make {wanted} where out_channels says so: {problem}")

    def clear(self) -> None:
        """Nothing of the signal is carried; but the shape of its batch is forgotten."""
        self._going = None
        if self._empty_result is not None:
            self._empty_result, self._empty_result_before = None, self._empty_result

    def output_kind(self) -> Any:
        return self._empty_result_before

    @property
    def current_batch(self) -> tuple[int, ...] | None:
        if self.batch_size is not None or self._empty_result is None:
            return super().current_batch
        return tuple(self._empty_result.shape[:-2])

    def advance_rows(self, chunk: Any, frames: Array, ends: Array) -> tuple[Any, Array]:
        going = self._rows_going(len(frames))
        if chunk is None:
            piece = self._empty_result
        else:
            self.check_chunk(chunk)
            if len(chunk.shape) != 3 or len(chunk) != len(frames):
                raise ValueError(
                    f"chunk must have the shape (batch, channels, frames) with {len(frames)} rows, "
                    f"got shape {tuple(chunk.shape)}"
                )
            longest = int(frames.max(initial=0))
            signal = chunk
            if (frames != chunk.shape[-1]).any():
                signal = filled(chunk, (*chunk.shape[:-1], longest), 0)
                for (count,), rows in alike(frames):
                    signal[rows, :, :count] = chunk[rows, :, :count]
            piece = self._apply(signal)
        self._keep_going((going | (frames > 0)) & ~ends, ended=bool(ends.any()) or not len(ends))
        return piece, frames

    def clear_rows(self, rows: Array) -> None:
        self._keep_going(self._rows_going(len(rows)) & ~rows, ended=True)

    def _rows_going(self, rows: int) -> Array:
        if self._going is not None and len(self._going) == rows:
            return self._going
        going: Array = np.full(rows, self._empty_result is not None)
        return going

    def _keep_going(self, going: Array, ended: bool) -> None:
        """The signal goes on in these rows. Where none is left, another batch may come."""
        if ended and not going.any():
            self.clear()
        else:
            self._going = going

    def state(self) -> dict[str, Any]:
        return {}

    def prepare_restore(self, state: Mapping[str, Any]) -> Callable[[], None]:
        check_state(state, set())
        return self.clear

    def __repr__(self) -> str:
        channels = "".join(
            f", {name}={value}"
            for name, value, shown in (
                ("out_channels", self.out_channels, not self.keeps_channels),
                ("in_channels", self.in_channels, self.in_channels is not None),
            )
            if shown
        )
        return f"Pointwise({getattr(self.function, '__name__', self.function)}{channels})"


class Identity(Pointwise):
    """The signal as it is: the straight branch of a residual block."""

    def __init__(self) -> None:
        super().__init__(lambda chunk: chunk)

    def __repr__(self) -> str:
        return "Identity()"
