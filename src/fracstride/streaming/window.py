"""Streams that carry input frames and compute each push from these and the chunk after them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fracstride.arguments import MAX_SIZE
from fracstride.arrays import Array
from fracstride.geometry import Geometry
from fracstride.part_geometry import crop_of_part, geometry_of_part
from fracstride.streaming.pieces import filled, kind, rows_of, stacked
from fracstride.streaming.stream import (
    Stream,
    check_state,
    cut,
    detached,
    given,
    integers_like,
    join,
    loaded,
)

__all__ = ["GeometryStream", "WindowStream"]


class WindowStream(Stream):
    """A stream that computes samples from a window: the frames carried and the chunk after them.

    A subclass says how many samples are final, which frames later samples need, and what samples a
    window makes. Frames are carried as they came, so that a sample is always computed in one go.
    """

    #: The shape of a chunk without its frames; None: as the first chunk after the beginning.
    _lead: tuple[int, ...] | None = None

    independent_rows = True
    _memory = ("_last", "_like")
    #: As ``_like``, of the signal before this one.
    _kind: Any = None
    _like: Any = None

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        if self._like is not None:
            self._kind = self._like
        self._received = 0  # frames so far, of every row
        self._counts: list[int] | None = None  # the same by row, where rows differ
        self._uneven = False
        # The last frames of each row; rows that carry fewer than others have zeros in front.
        self._carried: Any = None
        self._like = None  # a piece of no frames, like the chunks so far

    @abstractmethod
    def _final(self, frames: int) -> int:
        """The samples that are out after so many frames."""

    @abstractmethod
    def _at_end(self, frames: int) -> int:
        """The samples of an input of so many frames; 0 where it would be refused."""

    @abstractmethod
    def _first_kept(self, frames: int) -> int:
        """Index of the first of the ``frames`` received that later samples still need."""

    @abstractmethod
    def _task(self, start: int, received: int, first: int, stop: int, last: bool) -> Any:
        """What to compute of a window of the frames ``[start, received)``: equal tasks, one call.

        ``last``: the input ends after the window. Samples are ``[first, stop)``, one at the least.
        """

    @abstractmethod
    def _compute(self, window: Any, task: Any) -> Any:
        """The samples, in memory of their own."""

    def _no_output(self, chunk: Any) -> Any:
        """No samples of a chunk like this."""
        return cut(chunk, chunk.shape[-1])

    def _check_chunk(self, chunk: Any) -> None:
        """Raise unless it may come next."""
        like, of_kind = self._like, kind(chunk)
        if len(chunk.shape) not in (2, 3):
            raise ValueError(
                "chunk must have the shape (batch, channels, frames) or (channels, frames), "
                f"got shape {tuple(chunk.shape)}"
            )
        if like is None:
            return
        if chunk.shape[:-1] != like.shape[:-1] or of_kind != kind(like):
            raise ValueError(
                f"chunk must be as those before it, {kind(like)} of shape "
                f"{(*like.shape[:-1], 'T')}, got {of_kind} of shape {tuple(chunk.shape)}"
            )

    def push(self, chunk: Any, *, active: Any = None) -> Any:
        """The samples that a chunk ``(B, C, T)`` or ``(C, T)`` makes final, perhaps none.

        Raises:
            ValueError: a shape or dtype that does not fit. The stream stays as it was.
            TypeError: the chunk is no array.
        """
        if active is None and not self._uneven:
            return self._advance(chunk, last=False)
        return self._push_rows(chunk, active)

    def finish(self, chunk: Any, *, rows: Any = None) -> Any:  # noqa: D102
        if rows is None and not self._uneven:
            return self._advance(chunk, last=True)
        return self._end_rows(given(chunk), rows)

    def _rows_now(self) -> int | None:
        if self.batch_size is not None or self._like is None or len(self._like.shape) == 2:
            return self.batch_size
        return int(self._like.shape[0])

    def flush(self, *, rows: Any = None) -> Any:  # noqa: D102
        rest = self._flush() if rows is None else self._end_rows(None, rows)
        return self._nothing() if rest is None else rest

    def _flush(self) -> Any:
        nothing = self._no_frames()
        if nothing is None:
            self._last = 0
            return None
        if self._uneven:
            return self._end_rows(nothing, None)
        return self._advance(nothing, last=True)

    def _no_frames(self) -> Any:
        """A chunk of no frames; None where nobody knows its shape."""
        return self._like

    def _no_samples(self) -> Any:
        return None if self._kind is None else self._kind.reshape(-1)

    def reset(self, *, rows: Any = None) -> None:  # noqa: D102
        mask = None if rows is None else self._mask("rows", rows, self._no_frames())
        if mask is None:
            self._last = 0
        if mask is None or mask.all():
            self._clear()
        elif mask.any():
            self._drop(mask)

    def _drop(self, mask: Array) -> None:
        """Make some rows as new, but not all of them."""
        rows, going, others = len(mask), np.flatnonzero(mask).tolist(), np.flatnonzero(~mask)
        counts = np.where(mask, 0, self._row_counts(rows)).tolist()
        keep = max(count - self._first_kept(count) for count in counts)
        if keep:
            frames = self._carried[..., self._carried.shape[-1] - keep :]
            stay = rows_of(frames, others.tolist())
            zeros = filled(frames, (len(going), *frames.shape[1:]), 0)
            self._carried = stacked(stay, [stay, zeros], [*others.tolist(), *going])
        else:
            self._carried = None
        self._set_counts(counts)

    def _advance(self, chunk: Any, last: bool) -> Any:
        self._check_chunk(chunk)
        carried = self._carried
        received = self._received + chunk.shape[-1]
        first = self._final(self._received)
        stop = max(first, self._at_end(received)) if last else self._final(received)
        window = chunk if carried is None else join(carried, chunk)
        if stop == first:
            y = self._no_output(chunk)
        else:
            start = received - window.shape[-1]
            y = self._compute(window, self._task(start, received, first, stop, last))
        if last:
            self._clear()
        else:
            keep = received - self._first_kept(received)
            self._carried = cut(window, window.shape[-1] - keep) if keep else None
            self._received = received
            self._remember(chunk)
        self._last = y.shape
        return y

    def _remember(self, chunk: Any) -> None:
        if self._like is None:
            self._like = detached(cut(chunk, chunk.shape[-1]))

    def _advance_rows(self, chunk: Any, frames: Array, ends: Array) -> tuple[Any, Array]:
        if chunk is None:
            chunk = self._no_frames()
        counts: Array = np.zeros(len(frames), np.int64)
        if chunk is None:
            self._last = counts
            return None, counts
        self._check_chunk(chunk)
        received = self._row_counts(len(frames))
        groups: dict[Any, list[int]] = {}
        after = []
        for row, (before, count, end) in enumerate(
            zip(received, frames.tolist(), ends.tolist(), strict=True)
        ):
            now, start, first = before + count, self._first_kept(before), self._final(before)
            stop = max(first, self._at_end(now)) if end else self._final(now)
            task = self._task(start, now, first, stop, end) if stop > first else None
            after.append(0 if end else now)
            keep = after[-1] - self._first_kept(after[-1])
            groups.setdefault((before - start, count, keep, stop - first, task), []).append(row)
            counts[row] = stop - first
        longest, most = int(counts.max(initial=0)), max((key[2] for key in groups), default=0)
        pieces, tails = [], []
        for (kept, count, keep, samples, task), rows in groups.items():
            window = rows_of(chunk, rows)[..., :count]
            if kept:
                own = rows_of(self._carried, rows)
                window = join(own[..., own.shape[-1] - kept :], window)
            y = self._compute(window, task) if samples else self._no_output(window)
            if samples < longest:
                y = join(y, filled(y, (*y.shape[:-1], longest - samples), 0))
            tail = cut(window, window.shape[-1] - keep)
            if keep < most:
                tail = join(filled(tail, (*tail.shape[:-1], most - keep), 0), tail)
            pieces.append(y)
            tails.append(tail)
        order = [row for rows in groups.values() for row in rows]
        piece = stacked(pieces[0], pieces, order) if pieces else self._no_output(chunk)
        if ends.all():
            self._clear()
        else:
            self._carried = stacked(tails[0], tails, order) if most else None
            self._set_counts(after)
            self._remember(chunk)
        self._last = counts
        return piece, counts

    def _row_counts(self, rows: int) -> list[int]:
        return [self._received] * rows if self._counts is None else self._counts

    def _set_counts(self, counts: list[int]) -> None:
        self._received = max(counts, default=0)
        self._uneven = any(count != self._received for count in counts)
        self._counts = counts if self._uneven else None

    def detach(self) -> None:  # noqa: D102
        if self._carried is not None:
            self._carried = detached(self._carried)

    def state(self) -> dict[str, Any]:  # noqa: D102
        like = self._no_frames()
        if like is None:
            like = self._nothing()
        rows = 1 if len(like.shape) == 2 else like.shape[0]
        frames = like if self._carried is None else self._carried
        return {
            "frames": cut(detached(frames), 0),
            "received": integers_like(like, np.array(self._row_counts(rows), np.int64)),
        }

    def _checked(self, state: Mapping[str, Any]) -> Callable[[], None]:
        given = check_state(state, {"frames", "received"})
        frames, counts = loaded(given["frames"]), given["received"]
        try:
            kind(frames)
        except TypeError:
            raise ValueError(f"state frames must be an array, got {type(frames)}") from None
        shape = tuple(frames.shape)
        rows = (1 if len(shape) == 2 else shape[0]) if len(shape) in (2, 3) else None
        values = counts.tolist() if hasattr(counts, "tolist") else counts
        if (
            not isinstance(values, list)
            or len(values) != rows
            or any(type(value) is not int or not 0 <= value <= MAX_SIZE for value in values)
        ):
            raise ValueError(
                f"state received must be {rows} integers from 0 to 2**62, one for each row, "
                f"got {counts}"
            )
        keep = max((count - self._first_kept(count) for count in values), default=0)
        lead = self._lead if self._lead is not None else shape[:-1]
        if shape != (*lead, keep):
            raise ValueError(
                f"state frames must have the shape {(*lead, keep)} after {values} frames, "
                f"got shape {shape}"
            )
        self._check_frames(frames)

        def take() -> None:
            own = self._placed(frames)
            self._clear()
            self._carried = own if keep else None
            self._set_counts(values)
            self._like = cut(own, keep) if max(values, default=0) else None
            self._last = 0

        return take

    def _check_frames(self, frames: Any) -> None:
        """Raise ValueError for frames of a state of another kind than chunks may be."""

    def _placed(self, frames: Any) -> Any:
        """A copy of the frames of a state, where the stream computes."""
        return cut(frames, 0)


class GeometryStream(WindowStream):
    """A window stream of a transposed convolution of this geometry."""

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self.stride, self.latency = geometry.stride, geometry.latency
        self.overhang = geometry.overhang
        self._at_once = geometry.latency == 0 and geometry.mirrored_left == 0
        super().__init__()

    def _final(self, frames: int) -> int:
        return self._geometry.final_length(frames)

    def _at_end(self, frames: int) -> int:
        return self._geometry.length_at_end(frames)

    def _first_kept(self, frames: int) -> int:
        return self._geometry.first_kept(frames)

    def _task(
        self, start: int, received: int, first: int, stop: int, last: bool
    ) -> tuple[int, int, str]:
        g = self._geometry
        # Between the ends of the signal nothing reaches beyond the frames that are there.
        mode = g.padding_mode if start == 0 or last else "zeros"
        return crop_of_part(g, start, first), stop - first, mode

    def _part(self, window: Any, task: tuple[int, int, str]) -> Geometry:
        """The geometry of the layer that makes the task's samples of the window."""
        crop, samples, mode = task
        g = self._geometry
        return geometry_of_part(g, 0, window.shape[-1], crop - g.padding_left, samples, mode)
