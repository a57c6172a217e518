"""Streams of streams: whole decoders."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fracstride.arrays import Array
from fracstride.geometry import as_size
from fracstride.streaming.rows import alike
from fracstride.streaming.stream import Stream, blank, check_state, cut, detached, given

__all__ = ["Chain", "Composite", "Identity", "Pointwise", "split_state"]


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


class Composite(Stream):
    """Streams, checked to fit each other in rows and to be in one place each."""

    def __init__(self, *streams: Stream) -> None:
        for i, stream in enumerate(streams):
            if not isinstance(stream, Stream):
                hint = ": did you mean its .stream()?" if hasattr(stream, "stream") else ""
                raise TypeError(f"{self._name(i)} must be a stream, got {stream!r}{hint}")
        self._streams = streams
        # A failure half way leaves some of the streams ahead of the others.
        self._broken = False
        seen: set[int] = set()
        for part in self._nested():
            if id(part) in seen:
                raise ValueError(
                    f"{part!r} is in {type(self).__name__} more than once: a stream carries one "
                    "signal, so make one for each place"
                )
            seen.add(id(part))
        parts = self._nested()
        self._to_ask = [part for part in parts if type(part)._ready is not Stream._ready]
        self.batch_size = self._one_of("batch_size", [s.batch_size for s in streams])
        self.independent_rows = all(s.independent_rows for s in streams)
        self._carries = any(s._carries for s in streams)
        self._at_once = all(s._at_once for s in streams)
        self._keeps_channels = all(s._keeps_channels for s in streams)

    def _name(self, index: int) -> str:
        return f"argument {index} of {type(self).__name__}"

    def _one_of(self, what: str, values: list[Any]) -> Any:
        """The one value that is not None; ValueError if there are several."""
        known = [i for i, value in enumerate(values) if value is not None]
        for i in known:
            if values[i] != values[known[0]]:
                raise ValueError(
                    f"{self._name(i)} must have the {what} of {self._name(known[0])}, "
                    f"{values[known[0]]}, got {values[i]}"
                )
        return values[known[0]] if known else None

    def _nested(self) -> list[Stream]:
        return [self, *(part for s in self._streams for part in s._nested())]

    def _check(self) -> None:
        for part in self._to_ask:
            part._ready()
        if self._broken:
            raise RuntimeError(
                f"an earlier push into this {type(self).__name__} failed half way: reset() or "
                "restore() it first"
            )

    def _mask(self, name: str, rows: Any, chunk: Any = None) -> Array:
        self._check()
        if rows is not None and not self.independent_rows:
            dependent = next(s for s in self._streams if not s.independent_rows)
            return dependent._mask(name, rows, chunk)  # which says why not
        return super()._mask(name, rows, chunk)

    def _rows_now(self) -> int | None:
        rows = (s._rows_now() for s in self._streams)
        return next((count for count in rows if count is not None), None)

    def _failed(self, index: int) -> None:
        """A stream has raised; those before it have advanced."""
        self._broken = any(s._carries for s in self._streams[:index])

    @abstractmethod
    def _end(self, chunk: Any) -> Any:
        """Push what comes last, or nothing where that is None, and flush."""

    def finish(self, chunk: Any, *, rows: Any = None) -> Any:  # noqa: D102
        if rows is not None or self._uneven:
            return self._end_rows(given(chunk), rows)
        return self._end(given(chunk))

    def flush(self, *, rows: Any = None) -> Any:  # noqa: D102
        rest = self._flush() if rows is None else self._end_rows(None, rows)
        return self._nothing() if rest is None else rest

    def _flush(self) -> Any:
        return self._end_rows(None, None) if self._uneven else self._end(None)

    def reset(self, *, rows: Any = None) -> None:  # noqa: D102
        mask = None if rows is None else self._mask("rows", rows)
        for stream in self._streams:
            stream.reset(rows=mask)
        if mask is None:
            self._broken, self._last = False, 0
        self._compare_rows()

    def _compare_rows(self) -> None:
        """Rows may have come to differ in progress, or to agree."""
        self._uneven = any(s._uneven for s in self._streams)

    def state(self) -> dict[str, Any]:  # noqa: D102
        return {f"{i}.{k}": v for i, s in enumerate(self._streams) for k, v in s.state().items()}

    def _checked(self, state: Mapping[str, Any]) -> Callable[[], None]:
        takes = []
        for i, part in enumerate(split_state(state, len(self._streams))):
            try:
                takes.append(self._streams[i]._checked(part))
            except ValueError as error:
                raise ValueError(f"{self._name(i)}: {error}") from None

        def take() -> None:
            for take_part in takes:
                take_part()
            self._broken, self._last = False, 0
            self._compare_rows()

        return take

    def detach(self) -> None:  # noqa: D102
        for stream in self._streams:
            stream.detach()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self._streams))})"


class Chain(Composite):
    """Streams, each fed with what the one before it puts out.

    Args:
        streams: any number of them, compositions too, each in one place only.

    Raises:
        TypeError: one is no stream.
        ValueError: channels or batch sizes do not fit, or one is there twice.

    >>> import numpy as np, fracstride as fs
    >>> up = [fs.ConvTranspose1d(4, 4, kernel_size=4, stride=2, padding="causal") for _ in range(3)]
    >>> chain = Chain(*(layer.stream() for layer in up))
    >>> chain.stride, chain.latency, chain.push(np.zeros((1, 4, 5), np.float32)).shape
    (8, 0, (1, 4, 40))
    """

    def __init__(self, *streams: Stream) -> None:
        super().__init__(*streams)
        kept = True  # as many channels as come in
        for i, stream in enumerate(streams):
            channels = stream.in_channels
            if channels is not None and self.out_channels not in (None, channels):
                raise ValueError(
                    f"{self._name(i)} must take the {self.out_channels} channels that come before "
                    f"it, but takes {channels}: {stream!r}"
                )
            # What comes in is what the first streams that keep the channels take, or the next one.
            if self.in_channels is None and self.out_channels is None and kept:
                self.in_channels = channels
            kept = kept and stream._keeps_channels
            if stream.out_channels is not None:
                self.out_channels = stream.out_channels
            self.latency = self.latency * stream.stride + stream.latency
            self.overhang = self.overhang * stream.stride + stream.overhang
            self.stride *= stream.stride

    def push(self, chunk: Any, *, active: Any = None) -> Any:  # noqa: D102
        if active is not None or self._uneven:
            return self._push_rows(chunk, active)
        self._check()
        i = 0
        try:
            for i, stream in enumerate(self._streams):  # noqa: B007 - where it stopped
                chunk = stream.push(chunk)
        except BaseException:
            self._failed(i)
            raise
        if not self._streams:
            self._last = np.shape(chunk)
        return chunk

    def _push_onto(self, chunk: Any, waiting: Any, piece: Any) -> tuple[Any, bool]:
        self._check()
        i = 0
        try:
            for i, stream in enumerate(self._streams[:-1]):  # noqa: B007 - where it stopped
                chunk = stream.push(chunk)
            i = len(self._streams) - 1
            return self._streams[-1]._push_onto(chunk, waiting, piece)
        except BaseException:
            self._failed(i)
            raise

    def _adds(self) -> bool:
        return bool(self._streams) and self._streams[-1]._adds()

    def _end(self, chunk: Any) -> Any:
        self._check()
        i = 0
        try:
            for i, stream in enumerate(self._streams):  # noqa: B007 - where it stopped
                chunk = stream._flush() if chunk is None else stream.finish(chunk)
        except BaseException:
            self._failed(i)
            raise
        if not self._streams:
            self._last = 0 if chunk is None else np.shape(chunk)
        return chunk

    def _advance_rows(self, chunk: Any, frames: Array, ends: Array) -> tuple[Any, Array]:
        self._check()
        i = 0
        try:
            for i, stream in enumerate(self._streams):  # noqa: B007 - where it stopped
                chunk, frames = stream._advance_rows(chunk, frames, ends)
        except BaseException:
            self._failed(i)
            raise
        self._last = frames
        self._compare_rows()
        return chunk, frames

    @property
    def lengths(self) -> Array:  # noqa: D102
        counting = [s for s in self._streams if not isinstance(s, Chain) or s._nested()[1:]]
        lengths = counting[-1].lengths if counting else super().lengths
        if lengths.ndim == 0 and self.batch_size is not None:  # the last knows no number of rows
            return np.zeros(self.batch_size, np.int64)
        return lengths

    def _no_samples(self) -> Any:
        kinds = (stream._no_samples() for stream in reversed(self._streams))
        return next((kind for kind in kinds if kind is not None), None)


def split_state(state: object, count: int) -> list[dict[str, Any]]:
    """A composition's state as those of its streams."""
    if not isinstance(state, Mapping):
        raise TypeError(f"state must be what a stream's state() gave, got {type(state).__name__}")
    states: list[dict[str, Any]] = [{} for _ in range(count)]
    for key in state:
        index, dot, rest = str(key).partition(".")
        if not dot or not index.isdecimal() or int(index) >= count:
            raise ValueError(
                f"state must be that of a composition of {count} streams, got the key {key!r}"
            )
        states[int(index)][rest] = state[key]
    return states
