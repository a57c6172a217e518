"""Streams of streams: whole decoders."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fracstride.streaming.stream import Stream, check_state, cut, detached, join, loaded

__all__ = ["Chain", "Identity", "Pointwise", "Sum"]


class Pointwise(Stream):
    """An elementwise function of the signal, such as an activation.

    Args:
        function: called with each chunk, of no frames too; its result must have the chunk's shape,
            and a sample of it may depend on the same sample of the chunk only (on its channel, too,
            and on other channels at the same time). It must not write into the chunk, which other
            branches of a :class:`Sum` may be reading.

    Raises:
        TypeError: ``function`` cannot be called.

    >>> Pointwise(np.tanh).push(np.zeros((1, 2, 3))).shape
    (1, 2, 3)
    """

    independent_rows = True
    _carries = False

    def __init__(self, function: Callable[[Any], Any]) -> None:
        if not callable(function):
            raise TypeError(f"function must be callable, got {function!r}")
        self.function = function
        self._nothing: Any = None

    def push(self, chunk: Any, *, active: Any = None) -> Any:  # noqa: D102
        if not hasattr(chunk, "shape"):
            raise TypeError(f"chunk must be an array, got {type(chunk).__name__}")
        if len(np.shape(chunk)) not in (2, 3):
            raise ValueError(
                "chunk must have the shape (batch, channels, frames) or (channels, frames), "
                f"got shape {tuple(np.shape(chunk))}"
            )
        result = self.function(chunk)
        if getattr(result, "shape", None) != np.shape(chunk):
            raise ValueError(
                f"function must be elementwise: it made {getattr(result, 'shape', type(result))} "
                f"of a chunk of shape {tuple(np.shape(chunk))}"
            )
        if self._nothing is None:
            self._nothing = cut(detached(result), result.shape[-1])
        return result

    def finish(self, chunk: Any, *, rows: Any = None) -> Any:  # noqa: D102
        return self.push(chunk)

    def flush(self, *, rows: Any = None) -> Any:
        """An array of no samples."""
        return np.empty((0, 0, 0), np.float32) if self._nothing is None else self._nothing

    def reset(self, *, rows: Any = None) -> None:
        """Nothing: nothing is carried."""

    def state(self) -> dict[str, Any]:  # noqa: D102
        return {}

    def _checked(self, state: Mapping[str, Any]) -> Callable[[], None]:
        check_state(state, set())
        return lambda: None

    def _flush(self, rows: Any = None) -> Any:
        return self._nothing

    def __repr__(self) -> str:
        return f"Pointwise({getattr(self.function, '__name__', self.function)})"


class Identity(Pointwise):
    """The signal as it is: the straight branch of a residual block."""

    def __init__(self) -> None:
        super().__init__(lambda chunk: chunk)

    def __repr__(self) -> str:
        return "Identity()"


class _Composite(Stream):
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
        self.batch_size = self._one_of("batch_size", [s.batch_size for s in streams])
        self.independent_rows = all(s.independent_rows for s in streams)
        self._carries = any(s._carries for s in streams)

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

    def _check(self, rows: Any) -> None:
        if self._broken:
            raise RuntimeError(
                f"an earlier push into this {type(self).__name__} failed half way: reset() or "
                "restore() it first"
            )
        if rows is not None and not self.independent_rows:
            late = next(s for s in self._streams if not s.independent_rows)
            raise ValueError(
                f"a mask of rows must be None but for streams of latency 0, and {late!r} has "
                f"latency {late.latency}"
            )

    def _failed(self, index: int) -> None:
        """A stream has raised; those before it have advanced."""
        self._broken = any(s._carries for s in self._streams[:index])

    @abstractmethod
    def _end(self, chunk: Any, rows: Any) -> Any:
        """Push what comes last, or nothing where that is None, and flush."""

    def finish(self, chunk: Any, *, rows: Any = None) -> Any:
        return self._end(chunk, rows)

    def flush(self, *, rows: Any = None) -> Any:
        rest = self._end(None, rows)
        return np.empty((0, 0, 0), np.float32) if rest is None else rest

    def _flush(self, rows: Any = None) -> Any:
        return self._end(None, rows)

    def reset(self, *, rows: Any = None) -> None:
        if rows is not None:
            self._check(rows)
        for stream in self._streams:
            stream.reset(rows=rows)
        if rows is None:
            self._broken = False

    def state(self) -> dict[str, Any]:
        return {f"{i}.{k}": v for i, s in enumerate(self._streams) for k, v in s.state().items()}

    def _checked(self, state: Mapping[str, Any]) -> Callable[[], None]:
        takes = []
        for i, part in enumerate(_split(state, len(self._streams))):
            try:
                takes.append(self._streams[i]._checked(part))
            except ValueError as error:
                raise ValueError(f"{self._name(i)}: {error}") from None

        def take() -> None:
            for take_part in takes:
                take_part()
            self._broken = False

        return take

    def detach(self) -> None:
        for stream in self._streams:
            stream.detach()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self._streams))})"


class Chain(_Composite):
    """Streams, each fed with what the one before it puts out.

    Args:
        streams: any number of them, compositions too, each in one place only.

    Raises:
        TypeError: one is no stream.
        ValueError: channels or batch sizes do not fit, or one is there twice.

    >>> import fracstride as fs
    >>> up = [fs.ConvTranspose1d(4, 4, kernel_size=4, stride=2, padding="causal") for _ in range(3)]
    >>> chain = Chain(*(layer.stream() for layer in up))
    >>> chain.stride, chain.latency, chain.push(np.zeros((1, 4, 5), np.float32)).shape
    (8, 0, (1, 4, 40))
    """

    def __init__(self, *streams: Stream) -> None:
        super().__init__(*streams)
        for i, stream in enumerate(streams):
            channels = stream.in_channels
            if channels is not None and self.out_channels not in (None, channels):
                raise ValueError(
                    f"{self._name(i)} must take the {self.out_channels} channels that come before "
                    f"it, but takes {channels}: {stream!r}"
                )
            self.in_channels = channels if self.in_channels is None else self.in_channels
            if stream.out_channels is not None:
                self.out_channels = stream.out_channels
            self.latency = self.latency * stream.stride + stream.latency
            self.overhang = self.overhang * stream.stride + stream.overhang
            self.stride *= stream.stride

    def push(self, chunk: Any, *, active: Any = None) -> Any:  # noqa: D102
        self._check(active)
        i = 0
        try:
            for i, stream in enumerate(self._streams):  # noqa: B007 - where it stopped
                chunk = stream.push(chunk, active=active)
        except BaseException:
            self._failed(i)
            raise
        return chunk

    def _push_onto(self, chunk: Any, waiting: Any, piece: Any) -> tuple[Any, bool]:
        self._check(None)
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

    def _end(self, chunk: Any, rows: Any) -> Any:
        self._check(rows)
        i = 0
        try:
            for i, stream in enumerate(self._streams):  # noqa: B007 - where it stopped
                chunk = stream._flush(rows) if chunk is None else stream.finish(chunk, rows=rows)
        except BaseException:
            self._failed(i)
            raise
        return chunk


class Sum(_Composite):
    """Branches fed with the same chunk; their outputs are added as soon as all have them.

    A residual block is ``Sum(Identity(), Chain(...))``; the straight branch waits for the other.

    Args:
        branches: one at the least, added from left to right.

    Raises:
        TypeError: one is no stream.
        ValueError: branches differ in stride, in total length, in channels or batch size, or one is
            there twice.

    >>> Sum(Identity(), Pointwise(np.negative)).push(np.ones((1, 1, 3)))
    array([[[0., 0., 0.]]])
    """

    def __init__(self, *branches: Stream) -> None:
        super().__init__(*branches)
        if not branches:
            raise ValueError("Sum must have a branch, got none")
        self.stride = self._one_of("stride", [b.stride for b in branches])
        self.overhang = self._one_of("overhang (total length)", [b.overhang for b in branches])
        self.in_channels = self._one_of("in_channels", [b.in_channels for b in branches])
        self.out_channels = self._one_of("out_channels", [b.out_channels for b in branches])
        self.latency = max(b.latency for b in branches)
        self._waiting: list[Any] = [None] * len(branches)
        # Of two branches, one that ends in a layer or a sum adds the other to what it makes.
        adding = [i for i in (1, 0) if len(branches) == 2 and branches[i]._adds()]
        self._adding = adding[0] if adding else None

    def push(self, chunk: Any, *, active: Any = None) -> Any:  # noqa: D102
        self._check(active)
        if self._adding is not None and active is None and self._waiting[self._adding] is None:
            return self._push_adding(chunk, self._adding)
        pieces: list[Any] = []
        try:
            for branch in self._streams:
                pieces.append(branch.push(chunk, active=active))
            return self._add(pieces)
        except BaseException:
            self._failed(len(pieces))
            raise

    def _push_onto(self, chunk: Any, waiting: Any, piece: Any) -> tuple[Any, bool]:
        total = self.push(chunk)
        length = total.shape[-1]
        early = 0 if waiting is None else min(length, waiting.shape[-1])
        parts = [(piece, early, length)]
        if early:
            parts.insert(0, (waiting, 0, early))
        # The sum of several is an array of its own, to which more can be added in place.
        if (
            not isinstance(total, np.ndarray)
            or early + piece.shape[-1] < length
            or any(
                type(part) is not type(total)
                or part.dtype != total.dtype
                or part.shape[:-1] != total.shape[:-1]
                for part, _, _ in parts
            )
        ):
            return total, False
        try:
            for part, start, stop in parts:
                total[..., start:stop] += part[..., : stop - start]
        except BaseException:  # a floating-point error, where the caller has NumPy raise them
            self._broken = True
            raise
        return total, True

    def _adds(self) -> bool:
        return len(self._streams) > 1

    def _push_adding(self, chunk: Any, adding: int) -> Any:
        other, waiting = 1 - adding, self._waiting[1 - adding]
        piece = self._streams[other].push(chunk)
        advanced = self._streams[other]._carries
        try:
            total, added = self._streams[adding]._push_onto(chunk, waiting, piece)
            advanced = True
            if not added:
                return self._add([piece, total] if adding else [total, piece])
            used = total.shape[-1]
            if waiting is not None and used < waiting.shape[-1]:
                self._waiting[other] = join(cut(waiting, used), piece)
            else:
                used -= 0 if waiting is None else waiting.shape[-1]
                self._waiting[other] = cut(piece, used) if used < piece.shape[-1] else None
            return total
        except BaseException:
            self._broken = advanced
            raise

    def _end(self, chunk: Any, rows: Any) -> Any:
        self._check(rows)
        pieces: list[Any] = []
        try:
            for branch in self._streams:
                piece = branch._flush(rows) if chunk is None else branch.finish(chunk, rows=rows)
                pieces.append(piece)
            total = self._add(pieces)
        except BaseException:
            self._failed(len(pieces))
            raise
        # What still waits is the rest of a signal that another branch was too short for.
        self._waiting = [None] * len(pieces)
        return total

    def _add(self, pieces: list[Any]) -> Any:
        """The sum of what all branches have; what some have beyond that waits.

        None stands for nothing from a branch that never saw a chunk.
        """
        for i, waiting in enumerate(self._waiting):
            if waiting is not None:
                pieces[i] = waiting if pieces[i] is None else join(waiting, pieces[i])
        known: Any = next((p for p in pieces if p is not None), None)
        ready = min(0 if p is None else p.shape[-1] for p in pieces)
        total = None
        for i, piece in enumerate(pieces):
            if piece is None:
                continue
            if piece.shape[:-1] != known.shape[:-1]:
                raise ValueError(
                    f"{self._name(i)} must put out {tuple(known.shape[:-1])} (batch and channels) "
                    f"as the branches before it, got {tuple(piece.shape[:-1])}"
                )
            more = piece.shape[-1] > ready
            part = piece[..., :ready] if more else piece
            self._waiting[i] = cut(piece, ready) if more else None
            total = part if total is None else total + part
        return total

    def reset(self, *, rows: Any = None) -> None:  # noqa: D102
        super().reset(rows=rows)
        if rows is None:
            self._waiting = [None] * len(self._streams)

    def state(self) -> dict[str, Any]:  # noqa: D102
        waiting = {i: cut(detached(w), 0) for i, w in enumerate(self._waiting) if w is not None}
        return super().state() | {f"{i}.waiting": piece for i, piece in waiting.items()}

    def _checked(self, state: Mapping[str, Any]) -> Callable[[], None]:
        parts = _split(state, len(self._streams))
        waiting = [part.pop("waiting", None) for part in parts]
        pieces = [None if piece is None else loaded(piece) for piece in waiting]
        first = next((piece for piece in pieces if piece is not None), None)
        for i, piece in enumerate(pieces):
            if piece is not None:
                self._check_waiting(i, piece, first)
        take_parts = super()._checked(
            {f"{i}.{k}": v for i, part in enumerate(parts) for k, v in part.items()}
        )

        def take() -> None:
            take_parts()
            self._waiting = [None if piece is None else cut(piece, 0) for piece in pieces]

        return take

    def _check_waiting(self, i: int, piece: Any, first: Any) -> None:
        shape = tuple(np.shape(piece))
        fits = (
            hasattr(piece, "dtype")
            and len(shape) in (2, 3)
            and self.out_channels in (None, shape[-2])
            and (self.batch_size is None or shape[:-2] == (self.batch_size,))
            and shape[:-1] == tuple(first.shape[:-1])
            and piece.dtype == first.dtype
        )
        if not fits:
            raise ValueError(
                f"state {i}.waiting must be an array of {self.out_channels or 'some'} channels and "
                f"{self.batch_size or 'some'} rows, alike for all branches, got "
                f"{getattr(piece, 'dtype', type(piece).__name__)} of shape {shape}"
            )

    def detach(self) -> None:  # noqa: D102
        super().detach()
        self._waiting = [None if w is None else detached(w) for w in self._waiting]


def _split(state: object, count: int) -> list[dict[str, Any]]:
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
