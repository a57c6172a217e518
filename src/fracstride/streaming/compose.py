"""Streams of streams: whole decoders."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fracstride.arrays import Array
from fracstride.streaming.stream import Stream, given

__all__ = ["Chain", "Composite", "split_state"]


class Composite(Stream):
    """Streams, checked to fit each other in rows and to be in one place each."""

    _memory = ("_last", "_broken")

    def __init__(self, *streams: Stream) -> None:
        for i, stream in enumerate(streams):
            if not isinstance(stream, Stream):
                hint = ": did you mean its .stream()?" if hasattr(stream, "stream") else ""
                raise TypeError(f"{self._name(i)} must be a stream, got {stream!r}{hint}")
        self._streams = streams
        for stream in streams:
            stream._outermost = False
        # A failure half way leaves some of the streams ahead of the others.
        self._broken = False
        self._tried: Any = None  # the kind of chunks that all parts take
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
        if self._outermost:
            for part in self._to_ask:
                part._ready()
        if self._broken:
            raise RuntimeError(
                f"an earlier push into this {type(self).__name__} failed half way: reset() or "
                "restore() it first"
            )

    def _try(self, chunk: Any) -> None:
        """Push a chunk of another kind without its frames, before it comes with them.

        A part that refuses it does so before any part has advanced, and the stream is as it was.
        """
        shape = getattr(chunk, "shape", None)
        if not shape or not self._outermost:
            return
        chunks = shape[:-1], getattr(chunk, "dtype", None)
        if chunks == self._tried:
            return
        before = [(p, {name: getattr(p, name) for name in p._memory}) for p in self._nested()]
        try:
            nothing = chunk[..., :0]
            self._tried = chunks
            if self._uneven:
                rows = self._rows_now() or len(nothing)
                self._advance_rows(nothing, np.zeros(rows, np.int64), np.zeros(rows, np.bool_))
            else:
                self.push(nothing)
        except BaseException:
            self._tried = None
            for part, memory in before:
                vars(part).update(memory)
            raise

    def _push_rows(self, chunk: Any, active: Any) -> Any:
        self._check()
        self._try(chunk)
        return super()._push_rows(chunk, active)

    def _end_rows(self, chunk: Any, rows: Any) -> Any:
        self._check()
        self._try(chunk)
        return super()._end_rows(chunk, rows)

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
        self._check()
        self._try(given(chunk))
        return self._end(chunk)

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
        self._try(chunk)
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
