"""Branches that are fed with the same signal, added up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fracstride.arrays import Array
from fracstride.streaming.compose import Composite, split_state
from fracstride.streaming.ends import check_branches_end, end_alike, frames_of, never_together
from fracstride.streaming.pieces import cut, detached, filled, integers_like, join, loaded
from fracstride.streaming.rows import alike
from fracstride.streaming.staircase import Staircase, lowest
from fracstride.streaming.stream import Stream

__all__ = ["Sum"]

_SOME = 1000  # frames of an example in a message


class Sum(Composite):
    """Branches fed with the same chunk; their outputs are added as soon as all have them.

    A residual block is ``Sum(Identity(), Chain(...))``; the straight branch waits for the other.

    Branches may change the rate inside, as the half of a U-Net that goes down and up again does.
    Then they may agree in their total length for some numbers of frames only. Where they do not
    agree, ``flush`` and ``finish`` raise ``ValueError`` as the sum of the whole signals would; the
    stream stays as it was, so that more frames can be pushed.

    Args:
        branches: one at the least, added from left to right.

    Raises:
        TypeError: one is no stream.
        ValueError: branches differ in rate, in total length for every input, in channels or batch
            size, or one is there twice.

    >>> from fracstride.streaming import Identity, Pointwise
    >>> Sum(Identity(), Pointwise(np.negative)).push(np.ones((1, 1, 3)))
    array([[[0., 0., 0.]]])
    """

    def __init__(self, *branches: Stream) -> None:
        super().__init__(*branches)
        if not branches:
            raise ValueError("Sum must have a branch, got none")
        self._check_lengths()
        self.in_channels = self._one_of("in_channels", [b.in_channels for b in branches])
        self.out_channels = self._one_of("out_channels", [b.out_channels for b in branches])
        self._check_channels()
        self.can_add = len(branches) > 1
        self.keep_schedule(
            lowest(one for b in branches for one in b.staircases()),
            _simplest([b.staircase_at_end() for b in branches]),
            not end_alike(branches) or any(b.may_end_uneven for b in branches),
        )
        self._waiting: list[Any] = [None] * len(branches)
        # How many samples of each row wait, where rows differ.
        self._waits: list[Array | None] = [None] * len(branches)
        # Of two branches, one that ends in a layer or a sum adds the other to what it makes.
        adding = [i for i in (1, 0) if len(branches) == 2 and branches[i].can_add]
        self._adding = adding[0] if adding else None

    def _check_lengths(self) -> None:
        """Branches have one rate, and the same total length for some input."""
        branches = self._streams
        if None in [b.stride for b in branches]:
            self._one_of("rate", [b.rate for b in branches])
        else:
            self._one_of("stride", [b.stride for b in branches])
        if None not in [b.overhang for b in branches]:
            self._one_of("overhang (total length)", [b.overhang for b in branches])
        for i, branch in enumerate(branches[1:], 1):
            ends = [b.staircase_at_end() for b in (branches[0], branch)]
            known = [end for end in ends if end is not None]
            if len(known) == 2 and never_together(known):
                first, other = (end(_SOME) for end in known)
                raise ValueError(
                    f"{self._name(i)} must have the total length of {self._name(0)} for some "
                    f"input, but never has: of {_SOME} frames they make {other} and {first} samples"
                )

    def final_length(self, frames: int) -> int:
        return min(b.final_length(frames) for b in self._streams)

    def length_at_end(self, frames: int) -> int:
        return min(b.length_at_end(frames) for b in self._streams)

    def check_end(self, frames: int) -> None:
        check_branches_end(frames, self._streams)
        for branch in self._streams:
            branch.check_end(frames)

    def _check_channels(self) -> None:
        """A branch that keeps the channels puts out as many as come in."""
        keeps = next((i for i, b in enumerate(self._streams) if b.keeps_channels), None)
        if keeps is None:
            return
        several = None not in (self.in_channels, self.out_channels)
        if several and self.in_channels != self.out_channels:
            raise ValueError(
                f"{self._name(keeps)} must put out the {self.out_channels} channels of the other "
                f"branches, but keeps the {self.in_channels} that come in"
            )
        self.in_channels = self.out_channels = self.in_channels or self.out_channels

    def check_chunk(self, chunk: Any) -> None:
        for branch in self._streams:
            branch.check_chunk(chunk)

    def advance(self, chunk: Any, last: bool) -> Any:
        self.check_whole()
        count = self._count
        received: int | Array | None = None
        if count is not None:
            received = count.after(frames_of(chunk), last)
        if not last and self._adding is not None and self._waiting[self._adding] is None:
            total = self._push_adding(chunk, self._adding)
            if count is not None:
                self.keep_count(received)
            return total
        pieces: list[Any] = []
        try:
            for branch in self._streams:
                pieces.append(branch.advance(chunk, last))
            total = self._add(pieces)
        except BaseException:
            self.failed(len(pieces))
            raise
        if last:  # what still waits is the rest of a signal that another branch was too short for
            self._waiting = [None] * len(pieces)
        if count is not None:
            self.keep_count(received)
        return total

    def advance_adding(self, chunk: Any, waiting: Any, piece: Any) -> tuple[Any, bool]:
        total = self.advance(chunk, last=False)
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

    def _push_adding(self, chunk: Any, adding: int) -> Any:
        other, waiting = 1 - adding, self._waiting[1 - adding]
        piece = self._streams[other].advance(chunk, last=False)
        advanced = not self._streams[other].stateless
        try:
            total, added = self._streams[adding].advance_adding(chunk, waiting, piece)
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

    def _add(self, pieces: list[Any]) -> Any:
        """The sum of what all branches have; what some have beyond that waits.

        None stands for nothing from a branch that never saw a chunk.
        """
        for i, waiting in enumerate(self._waiting):
            if waiting is not None:
                pieces[i] = waiting if pieces[i] is None else join(waiting, pieces[i])
        self._check_pieces(pieces)
        ready = min(0 if p is None else p.shape[-1] for p in pieces)
        total = None
        for i, piece in enumerate(pieces):
            if piece is None:
                continue
            more = piece.shape[-1] > ready
            part = piece[..., :ready] if more else piece
            self._waiting[i] = cut(piece, ready) if more else None
            total = part if total is None else total + part
        return total

    def _check_pieces(self, pieces: list[Any]) -> None:
        known = [
            (i, tuple(piece.shape[:-1])) for i, piece in enumerate(pieces) if piece is not None
        ]
        for i, shape in known:
            if shape != known[0][1]:
                raise ValueError(
                    f"{self._name(i)} must put out {known[0][1]} (batch and channels) "
                    f"as the branches before it, got {shape}"
                )

    def advance_rows(self, chunk: Any, frames: Array, ends: Array) -> tuple[Any, Array]:
        self.check_whole()
        received = self.count_after(frames, ends)
        pieces: list[Any] = []
        counts: list[Array] = []
        try:
            for branch in self._streams:
                piece, count = branch.advance_rows(chunk, frames, ends)
                pieces.append(piece)
                counts.append(count)
            total, ready = self._add_rows(pieces, counts, ends)
        except BaseException:
            self.failed(len(pieces))
            raise
        self.keep_count(received)
        self.compare_rows()
        return total, ready

    def _add_rows(self, pieces: list[Any], counts: list[Array], ends: Array) -> tuple[Any, Array]:
        """As :meth:`_add`, with as many samples of each row as ``counts`` says."""
        self._check_pieces(pieces)
        rows, before = len(ends), [self._row_waits(i, len(ends)) for i in range(len(pieces))]
        have = [wait + count for wait, count in zip(before, counts, strict=True)]
        ready = np.minimum.reduce(have)
        after = [np.where(ends, 0, count - ready) for count in have]
        total: Any = None
        waiting: list[Any] = [None] * len(pieces)
        for numbers, some in alike(ready, *before, *counts, *after):
            length, (waits, news, rests) = numbers[0], np.reshape(numbers[1:], (3, -1)).tolist()
            part = None
            for i, piece in enumerate(pieces):
                signal = _signal(self._waiting[i], waits[i], piece, news[i], some)
                if signal is None:
                    continue
                head = signal[..., :length]
                part = head if part is None else part + head
                if rests[i]:
                    if waiting[i] is None:
                        waiting[i] = _blank(signal, rows, int(after[i].max()))
                    waiting[i][some, :, : rests[i]] = signal[..., length:]
            if part is not None:
                if total is None:
                    total = _blank(part, rows, int(ready.max()))
                total[some, :, :length] = part
        if total is None:  # a batch of no rows, or nothing known
            total = next((_blank(p, rows, 0) for p in pieces if p is not None), None)
        self._waiting = waiting
        self._waits = [None if (a == a[:1]).all() else a for a in after]
        return total, ready

    def _drop_rows(self, mask: Array) -> None:
        """Nothing waits any more for the rows of a mask."""
        for i, waiting in enumerate(self._waiting):
            if waiting is None:
                continue
            waits = np.where(mask, 0, self._row_waits(i, len(mask)))
            rest = _blank(waiting, len(mask), int(waits.max(initial=0)))
            for (length,), some in alike(waits):
                rest[some, :, :length] = waiting[some, :, :length]
            self._waiting[i] = rest if waits.any() else None
            self._waits[i] = None if (waits == waits[:1]).all() else waits

    def _row_waits(self, i: int, rows: int) -> Array:
        """How many samples of each row wait in a branch."""
        waiting, waits = self._waiting[i], self._waits[i]
        if waits is not None:
            return waits
        return np.full(rows, 0 if waiting is None else waiting.shape[-1], np.int64)

    def compare_rows(self) -> None:
        super().compare_rows()
        self._rows_differ = self._rows_differ or any(waits is not None for waits in self._waits)

    def output_kind(self) -> Any:
        kinds = [k for k in (branch.output_kind() for branch in self._streams) if k is not None]
        total = kinds[0] if kinds else None
        for kind in kinds[1:]:
            total = total + kind
        return total

    def clear(self) -> None:
        self._waiting = [None] * len(self._streams)
        self._waits = [None] * len(self._streams)
        super().clear()

    def clear_rows(self, rows: Array) -> None:
        self._drop_rows(rows)
        super().clear_rows(rows)

    def state(self) -> dict[str, Any]:
        state = super().state()
        for i, (waiting, waits) in enumerate(zip(self._waiting, self._waits, strict=True)):
            if waiting is not None:
                state[f"{i}.waiting"] = cut(detached(waiting), 0)
            if waits is not None:
                state[f"{i}.lengths"] = integers_like(waiting, waits)
        return state

    def prepare_restore(self, state: Mapping[str, Any]) -> Callable[[], None]:
        state, received = self.without_count(state)
        parts = split_state(state, len(self._streams))
        waiting = [part.pop("waiting", None) for part in parts]
        lengths = [part.pop("lengths", None) for part in parts]
        pieces = [None if piece is None else loaded(piece) for piece in waiting]
        first = next((piece for piece in pieces if piece is not None), None)
        for i, piece in enumerate(pieces):
            if piece is not None:
                self._check_waiting(i, piece, first)
        waits = [_row_lengths(i, *of) for i, of in enumerate(zip(lengths, pieces, strict=True))]
        take_parts = self.prepare_parts(
            {f"{i}.{k}": v for i, part in enumerate(parts) for k, v in part.items()}, received
        )

        def take() -> None:
            self._waiting = [None if piece is None else cut(piece, 0) for piece in pieces]
            self._waits = waits
            take_parts()

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

    def detach(self) -> None:
        super().detach()
        self._waiting = [None if w is None else detached(w) for w in self._waiting]


def _simplest(ends: list[Staircase | None]) -> Staircase | None:
    """Of lengths that agree wherever the signal can end, one that is known with few steps."""
    return min(
        (end for end in ends if end is not None), key=lambda end: len(end.steps), default=None
    )


def _signal(waiting: Any, waits: int, piece: Any, count: int, rows: slice | Array) -> Any:
    """What some rows of a branch have: what waited, and what has come. None for nothing known."""
    if waits:
        early = waiting[rows, :, :waits]
        return join(early, piece[rows, :, :count]) if count else early
    return None if piece is None else piece[rows, :, :count]


def _blank(piece: Any, rows: int, length: int) -> Any:
    return filled(piece, (rows, piece.shape[-2], length), 0)


def _row_lengths(i: int, lengths: Any, waiting: Any) -> Array | None:
    """The samples of each row that wait, of a state."""
    if lengths is None:
        return None
    counts = np.asarray(lengths.tolist() if hasattr(lengths, "tolist") else lengths)
    shape, width = (0,) if waiting is None else np.shape(waiting)[:-2], np.shape(waiting)[-1:]
    if (
        counts.dtype.kind not in "iu"
        or counts.shape != shape
        or counts.size == 0
        or (int(counts.max()),) != width
        or counts.min() < 0
    ):
        raise ValueError(
            f"state {i}.lengths must be an integer for each row of {i}.waiting, the greatest of "
            f"them its length, got {counts.dtype} of shape {counts.shape}: {counts}"
        )
    return counts.astype(np.int64)
