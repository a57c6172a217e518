"""Elementwise functions as streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fracstride.arguments import as_size
from fracstride.arrays import Array
from fracstride.streaming.rows import alike
from fracstride.streaming.stream import Stream, blank, check_state, cut, detached, given

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
    _memory = ("_last", "_begun", "_kind")
    _carries = False
    _at_once = True

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
        self._keeps_channels = out_channels is None
        if in_channels is not None:
            self.in_channels = self.out_channels = as_size("in_channels", in_channels, 1)
        if out_channels is not None:
            self.out_channels = as_size("out_channels", out_channels, 1)
        self._begun: Any = None  # no samples, of the signal that goes on
        self._kind: Any = None  # no samples, of the signal before it

    def push(self, chunk: Any, *, active: Any = None) -> Any:  # noqa: D102
        if active is not None:
            return self._push_rows(chunk, active)
        self._check_chunk(chunk)
        result = self.function(chunk)
        shape = getattr(result, "shape", None)
        if shape != chunk.shape or not self._keeps_channels:
            self._check_result(chunk.shape, shape, type(result))
        if self._begun is None:
            self._begun = cut(detached(result), result.shape[-1])
        self._last = shape
        return result

    def _check_chunk(self, chunk: Any) -> None:
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

    def _check_result(self, given: Any, shape: Any, kind: type) -> None:
        wanted = tuple(given)
        if not self._keeps_channels:
            wanted = (*wanted[:-2], self.out_channels, wanted[-1])
        if shape is None or tuple(shape) != wanted:
            made = kind if shape is None else tuple(shape)
            problem = f"it made {made} of a chunk of shape {tuple(given)}"
            if self._keeps_channels:
                raise ValueError(
                    f"function must be elementwise: {problem}. If it changes the number of "
                    "channels, give out_channels="
                )
            raise ValueError(f"function must make {wanted} where out_channels says so: {problem}")

    def finish(self, chunk: Any, *, rows: Any = None) -> Any:  # noqa: D102
        if rows is not None:
            return self._end_rows(given(chunk), rows)
        result = self.push(chunk)
        self._forget()
        return result

    def flush(self, *, rows: Any = None) -> Any:
        """An array of no samples."""
        rest = self._flush() if rows is None else self._end_rows(None, rows)
        return self._nothing() if rest is None else rest

    def _flush(self) -> Any:
        rest = self._begun
        self._forget()
        self._last = 0 if rest is None else rest.shape
        return rest

    def _forget(self) -> None:
        if self._begun is not None:
            self._begun, self._kind = None, self._begun

    def _no_samples(self) -> Any:
        return self._kind

    def _rows_now(self) -> int | None:
        if self.batch_size is not None or self._begun is None or len(self._begun.shape) == 2:
            return self.batch_size
        return int(self._begun.shape[0])

    def _advance_rows(self, chunk: Any, frames: Array, ends: Array) -> tuple[Any, Array]:
        if chunk is None:
            piece = self._begun
        else:
            self._check_chunk(chunk)
            if len(chunk.shape) != 3 or len(chunk) != len(frames):
                raise ValueError(
                    f"chunk must have the shape (batch, channels, frames) with {len(frames)} rows, "
                    f"got shape {tuple(chunk.shape)}"
                )
            longest = int(frames.max(initial=0))
            signal = chunk
            if (frames != chunk.shape[-1]).any():
                signal = blank(chunk, len(frames), longest)
                for (count,), rows in alike(frames):
                    signal[rows, :, :count] = chunk[rows, :, :count]
            piece = self.push(signal)
        if ends.all():
            self._forget()
        self._last = frames
        return piece, frames

    def reset(self, *, rows: Any = None) -> None:
        """Nothing of the signal is carried; but the shape of its batch is forgotten."""
        if rows is None or self._mask("rows", rows).all():
            self._flush()
            self._last = 0

    def state(self) -> dict[str, Any]:  # noqa: D102
        return {}

    def _checked(self, state: Mapping[str, Any]) -> Callable[[], None]:
        check_state(state, set())
        return self.reset

    def __repr__(self) -> str:
        channels = "".join(
            f", {name}={value}"
            for name, value, shown in (
                ("out_channels", self.out_channels, not self._keeps_channels),
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
