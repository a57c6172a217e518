"""Streams of streams: whole decoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any

import numpy as np

from fracstride.arrays import Array
from fracstride.streaming.ends import FrameCount, frames_of
from fracstride.streaming.staircase import Staircase, lowest
from fracstride.streaming.stream import Stream

__all__ = ["Chain", "Composite", "split_state"]

_RECEIVED = "received"  # the key of the count of frames in a state


class Composite(Stream):
    """Streams, checked to fit each other in rows and to be in one place each.

    ``push``, ``finish`` and ``flush`` call ``check_ready`` of every part first. Before a chunk of a
    new shape or dtype, ``push`` and ``finish`` push the chunk without its frames: a part that
    refuses it raises before any part has advanced.
    """

    set_by_first_chunk = ("_broken",)

    def __init__(self, *streams: Stream) -> None:
        for i, stream in enumerate(streams):
            if not isinstance(stream, Stream):
                hint = ": did you mean its .stream()?" if hasattr(stream, "stream") else ""
                raise TypeError(f"{self._name(i)} must be a stream, got {stream!r}{hint}")
            if stream.has_several:
                raise ValueError(
                    f"{self._name(i)} must take one signal and give one, got {stream!r}"
                )
        self._streams = streams
        # A failure half way leaves some of the streams ahead of the others.
        self._broken = False
        self._rows_differ = False
        self._tried: Any = None  # shape and dtype of the last chunk that all parts take
        parts = self.nested()
        seen: set[int] = set()
        for part in parts:
            if id(part) in seen:
                raise ValueError(
                    f"{part!r} is in {type(self).__name__} more than once: a stream carries one "
                    "signal, so make one for each place"
                )
            seen.add(id(part))
        self._compositions = [part for part in parts if isinstance(part, Composite)]
        self._to_ask = [
            part
            for part in parts
            if not isinstance(part, Composite) and type(part).check_ready is not Stream.check_ready
        ]
        self.batch_size = self._one_of("batch_size", [s.batch_size for s in streams])
        self.independent_rows = all(s.independent_rows for s in streams)
        self.stateless = all(s.stateless for s in streams)
        self.at_once = all(s.at_once for s in streams)
        self.keeps_channels = all(s.keeps_channels for s in streams)
        self._staircases: tuple[Staircase, ...] = (Staircase(),)
        self._at_end: Staircase | None = Staircase()
        # The frames so far, where a signal cannot end after every number of them.
        self._count: FrameCount | None = None

    def keep_schedule(
        self, staircases: tuple[Staircase, ...], at_end: Staircase | None, may_end_uneven: bool
    ) -> None:
        """Set what follows from the schedules of the parts."""
        self.rate, self._staircases, self._at_end = staircases[0].rate, staircases, at_end
        self.latency = max(ceil(one.lag()) for one in staircases)
        if all(s.latency >= 0 for s in self._streams):  # as with no frames
            self.latency = max(0, self.latency)
        self.overhang = None
        if at_end is not None and len(at_end.steps) <= 1 and at_end(1) - at_end(0) == self.rate:
            self.overhang = at_end(0)
        self.may_end_uneven = may_end_uneven
        self._count = FrameCount(self) if may_end_uneven else None

    def staircases(self) -> tuple[Staircase, ...]:
        return self._staircases

    def staircase_at_end(self) -> Staircase | None:
        return self._at_end

    def count_after(self, frames: Any, ends: Any) -> int | Array | None:
        """The frames after so many more, if they are counted; ValueError for a wrong end."""
        return None if self._count is None else self._count.after(frames, ends)

    def keep_count(self, count: int | Array | None) -> None:
        """The parts have advanced."""
        if self._count is not None and count is not None:
            self._count.received = count

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

    def nested(self) -> list[Stream]:
        return [self, *(part for s in self._streams for part in s.nested())]

    def check_ready(self) -> None:
        for part in self._to_ask:
            part.check_ready()
        for composition in self._compositions:  # this one is among them
            if composition._broken:
                composition.check_whole()

    def check_whole(self) -> None:
        """Raise RuntimeError after a push that failed half way."""
        if self._broken:
            raise RuntimeError(
                f"an earlier push into this {type(self).__name__} failed half way: reset() or "
                "restore() it first"
            )

    def push(self, chunk: Any, *, active: Any = None) -> Any:
        self._try(chunk)
        return super().push(chunk, active=active)

    def finish(self, chunk: Any, *, rows: Any = None) -> Any:
        self._try(chunk)
        return super().finish(chunk, rows=rows)

    def _try(self, chunk: Any) -> None:
        """Push a chunk of another shape or dtype without its frames, before it comes with them.

        A part that refuses it does so before any part has advanced, and the stream is as it was.
        """
        shape = getattr(chunk, "shape", None)
        if not shape:
            return
        like = shape[:-1], getattr(chunk, "dtype", None)
        if like == self._tried:
            return
        self.check_ready()
        before = [
            (part, {name: getattr(part, name) for name in part.set_by_first_chunk})
            for part in self.nested()
        ]

        def set_back() -> None:
            self._tried = None
            for part, attributes in before:
                vars(part).update(attributes)

        try:
            nothing = chunk[..., :0]
            self._tried = like
            if self.rows_differ:
                rows = (self.current_batch or nothing.shape)[0]
                self.advance_rows(nothing, np.zeros(rows, np.int64), np.zeros(rows, np.bool_))
            else:
                self.advance(nothing, last=False)
        except BaseException:
            set_back()
            try:
                self.check_chunk(chunk)
            except Exception as refusal:  # the same one, with the shape that the caller sent
                raise refusal from None
            finally:
                set_back()
            raise

    def checked_mask(self, name: str, rows: Any, chunk: Any = None) -> Array:
        self.check_ready()
        if rows is not None and not self.independent_rows:
            dependent = next(s for s in self._streams if not s.independent_rows)
            return dependent.checked_mask(name, rows, chunk)  # which says why not
        return super().checked_mask(name, rows, chunk)

    @property
    def current_batch(self) -> tuple[int, ...] | None:
        batches = (s.current_batch for s in self._streams)
        return next((batch for batch in batches if batch is not None), None)

    def failed(self, index: int) -> None:
        """The stream of this index has raised; those before it have advanced."""
        self._broken = not all(s.stateless for s in self._streams[:index])

    def clear(self) -> None:
        for stream in self._streams:
            stream.clear()
        self._broken = self._rows_differ = False
        if self._count is not None:
            self._count.received = 0

    def clear_rows(self, rows: Array) -> None:
        for stream in self._streams:
            stream.clear_rows(rows)
        if self._count is not None:
            self._count.received = np.where(rows, 0, self._count.received)
        self.compare_rows()

    @property
    def rows_differ(self) -> bool:
        return self._rows_differ

    def compare_rows(self) -> None:
        """Rows may have come to differ in progress, or to agree."""
        self._rows_differ = any(s.rows_differ for s in self._streams)

    def state(self) -> dict[str, Any]:
        own = {} if self._count is None else {_RECEIVED: self._count.saved(self.output_kind())}
        parts = enumerate(self._streams)
        return own | {f"{i}.{k}": v for i, s in parts for k, v in s.state().items()}

    def prepare_restore(self, state: Mapping[str, Any]) -> Callable[[], None]:
        return self.prepare_parts(*self.without_count(state))

    def prepare_parts(
        self, state: Mapping[str, Any], received: int | Array | None
    ) -> Callable[[], None]:
        """:meth:`prepare_restore` of a state without the count of frames, and this."""
        takes = []
        for i, part in enumerate(split_state(state, len(self._streams))):
            try:
                takes.append(self._streams[i].prepare_restore(part))
            except ValueError as error:
                raise ValueError(f"{self._name(i)}: {error}") from None

        def take() -> None:
            for take_part in takes:
                take_part()
            self._broken = False
            self.keep_count(received)
            self.compare_rows()

        return take

    def without_count(
        self, state: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], int | Array | None]:
        """A state without the count of frames, and this."""
        if self._count is None or not isinstance(state, Mapping):
            return state, None
        if _RECEIVED not in state:
            raise ValueError(
                f"state must have the key {_RECEIVED!r}, as this stream's own has, "
                f"got {sorted(map(str, state))}"
            )
        parts = {key: value for key, value in state.items() if key != _RECEIVED}
        return parts, self._count.loaded(state[_RECEIVED])

    def detach(self) -> None:
        for stream in self._streams:
            stream.detach()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self._streams))})"


class Chain(Composite):
    """Streams, each fed with what the one before it puts out.

    Args:
        streams: one at the least, compositions too, each in one place only.

    Raises:
        TypeError: one is no stream.
        ValueError: there is none, channels or batch sizes do not fit, or one is there twice.

    >>> import numpy as np, fracstride as fs
    >>> up = [fs.ConvTranspose1d(4, 4, kernel_size=4, stride=2, padding="causal") for _ in range(3)]
    >>> chain = Chain(*(layer.stream() for layer in up))
    >>> chain.stride, chain.latency, chain.push(np.zeros((1, 4, 5), np.float32)).shape
    (8, 0, (1, 4, 40))
    """

    def __init__(self, *streams: Stream) -> None:
        super().__init__(*streams)
        if not streams:
            raise ValueError(
                "Chain must have a stream, got none; Identity() leaves a signal as it is"
            )
        kept = True  # as many channels as come in
        staircases, at_end = self._staircases, self._at_end
        for i, stream in enumerate(streams):
            channels = stream.in_channels
            if channels is not None and self.out_channels not in (None, channels):
                raise ValueError(
                    f"{self._name(i)} must take the {self.out_channels} channels that come before "
                    f"it, but takes {channels}: {stream!r}"
                )
            # The chain's in_channels are those of the first stream that names them, if every stream
            # before it keeps the channels.
            if self.in_channels is None and self.out_channels is None and kept:
                self.in_channels = channels
            kept = kept and stream.keeps_channels
            if stream.out_channels is not None:
                self.out_channels = stream.out_channels
            last = stream.staircase_at_end()
            at_end = None if at_end is None or last is None else at_end.then(last)
            staircases = lowest(
                one.then(another) for one in staircases for another in stream.staircases()
            )
        self.keep_schedule(staircases, at_end, any(s.may_end_uneven for s in streams))
        self.can_add = streams[-1].can_add and not self.may_end_uneven

    def final_length(self, frames: int) -> int:
        for stream in self._streams:
            frames = stream.final_length(frames)
        return frames

    def length_at_end(self, frames: int) -> int:
        for stream in self._streams:
            frames = stream.length_at_end(frames)
        return frames

    def check_end(self, frames: int) -> None:
        for stream in self._streams:
            stream.check_end(frames)
            frames = stream.length_at_end(frames)

    def check_chunk(self, chunk: Any) -> None:
        for stream in self._streams:
            stream.check_chunk(chunk)
            if not stream.stateless:
                return
            chunk = stream.advance(chunk, last=False)

    def advance(self, chunk: Any, last: bool) -> Any:
        self.check_whole()
        count = self._count
        received: int | Array | None = None
        if count is not None:
            received = count.after(frames_of(chunk), last)
        i = 0
        try:
            for i, stream in enumerate(self._streams):  # noqa: B007 - where it stopped
                chunk = stream.advance(chunk, last)
        except BaseException:
            self.failed(i)
            raise
        if count is not None:
            self.keep_count(received)
        return chunk

    def advance_adding(self, chunk: Any, waiting: Any, piece: Any) -> tuple[Any, bool]:
        self.check_whole()
        i = 0
        try:
            for i, stream in enumerate(self._streams[:-1]):  # noqa: B007 - where it stopped
                chunk = stream.advance(chunk, last=False)
            i = len(self._streams) - 1
            return self._streams[-1].advance_adding(chunk, waiting, piece)
        except BaseException:
            self.failed(i)
            raise

    def advance_rows(self, chunk: Any, frames: Array, ends: Array) -> tuple[Any, Array]:
        self.check_whole()
        count = self.count_after(frames, ends)
        i = 0
        try:
            for i, stream in enumerate(self._streams):  # noqa: B007 - where it stopped
                chunk, frames = stream.advance_rows(chunk, frames, ends)
        except BaseException:
            self.failed(i)
            raise
        self.keep_count(count)
        self.compare_rows()
        return chunk, frames

    def output_kind(self) -> Any:
        kinds = (stream.output_kind() for stream in reversed(self._streams))
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
