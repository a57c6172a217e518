"""Streams that carry input frames and compute each push from these and the chunk after them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fracstride.arguments import MAX_SIZE
from fracstride.arrays import Array
from fracstride.conv1d_geometry import AnyGeometry
from fracstride.geometry import Geometry
from fracstride.part_geometry import geometry_of_part
from fracstride.streaming.pieces import (
    cut,
    detached,
    dtype_and_device,
    filled,
    integers_like,
    join,
    loaded,
    stacked,
)
from fracstride.streaming.rows import RowPlan, plan_rows, settled_after
from fracstride.streaming.schedule import ScheduledByGeometry
from fracstride.streaming.stream import Stream, check_state

__all__ = ["GeometryStream", "WindowStream"]


class WindowStream(Stream):
    """A stream that computes samples from a window: the frames carried and the chunk after them.

    Frames are carried as they came, so that a sample is always computed in one go: sums begun in
    one chunk and ended in the next would be added up in another order.

    **To write one of your own**, for a function that reads some frames around each sample, derive a
    class from this one. Set ``stride`` (or ``rate``, a ``Fraction``, where a sample takes several
    frames) and ``latency``, and implement four methods:

    - :meth:`final_length`: how many samples are out after so many frames;
    - :meth:`length_at_end`: how many samples an input of so many frames has;
    - :meth:`first_kept`: which frames later samples need;
    - :meth:`compute`: the samples of a window.

    Rows of the batch may then begin and end on their own, and states are saved and restored.
    :meth:`check_chunk`, :meth:`check_frames`, :meth:`no_samples` may be implemented. ``overhang``
    is set where the whole output has another length than ``stride`` times its frames.

    >>> class InnerMedian(WindowStream):  # the median of each frame and its two neighbours
    ...     latency, overhang = 1, -1  # the last frame has no neighbour to come
    ...     def final_length(self, frames):
    ...         return max(0, frames - 1)
    ...     def length_at_end(self, frames):
    ...         return max(0, frames - 1)
    ...     def first_kept(self, frames):
    ...         return max(0, frames - 2)
    ...     def compute(self, window, start, first, stop, last):
    ...         before = np.arange(first, stop) - 1 - start
    ...         three = [window[..., np.maximum(before + i, 0)] for i in range(3)]
    ...         return np.median(three, axis=0)
    >>> x = np.array([[[3.0, 9.0, 4.0, 5.0, 1.0]]])
    >>> InnerMedian().finish(x)
    array([[[3., 4., 5., 4.]]])
    >>> from fracstride.streaming.testing import assert_streams_exactly
    >>> assert_streams_exactly(InnerMedian(), InnerMedian().finish, x)
    """

    independent_rows = True
    set_by_first_chunk = ("_empty_chunk",)
    #: The shape of a chunk without its frames; None: as that of the first chunk of the signal.
    lead: tuple[int, ...] | None = None

    # A new stream, so that a class of one's own need not call `super().__init__()`.
    _empty_chunk: Any = None  # of this signal; None before its first chunk
    _empty_chunk_before: Any = None  # of the signal before
    _settled: int | None = None  # for plans of rows; found when the first is made
    _received = 0  # frames so far, of every row, or of the row that has most
    _counts: Array | None = None  # the same by row, where rows differ
    # The last frames of each row; rows that carry fewer than others have zeros in front.
    _carried: Any = None

    @abstractmethod
    def final_length(self, frames: int) -> int:
        """The samples that are out after so many frames of a signal that may go on, or end."""

    @abstractmethod
    def length_at_end(self, frames: int) -> int:
        """The samples of an input of so many frames; 0 where it would be refused."""

    @abstractmethod
    def first_kept(self, frames: int) -> int:
        """Index of the first of the ``frames`` received that later samples still need.

        From the number of frames on where this and :meth:`final_length` are both positive, each
        frame gives ``stride`` samples and one carried frame is no longer needed. With a ``rate`` of
        ``p/q``, that holds for ``q`` frames together: they give ``p`` samples, and ``q`` carried
        frames are no longer needed.
        """

    @abstractmethod
    def compute(self, window: Any, start: int, first: int, stop: int, last: bool) -> Any:
        """Samples ``[first, stop)`` of a signal, one at the least, in memory of their own.

        ``window`` is the frames of the signal from ``start`` on. With ``last``, the signal ends
        after it. The result may depend on ``first - rate*start``, on whether ``start`` is 0 and
        on ``last``, but not on how far from its beginning a signal is.
        """

    def no_samples(self, chunk: Any) -> Any:
        """No samples of a chunk like this."""
        return cut(chunk, chunk.shape[-1])

    def no_frames(self) -> Any:
        """A chunk of no frames; None where its shape is unknown."""
        return self._empty_chunk

    def check_chunk(self, chunk: Any) -> None:
        """Raise ValueError or TypeError unless it may come next."""
        like, given = self._empty_chunk, dtype_and_device(chunk)
        if len(chunk.shape) not in (2, 3):
            raise ValueError(
                "chunk must have the shape (batch, channels, frames) or (channels, frames), "
                f"got shape {tuple(chunk.shape)}"
            )
        if like is None:
            return
        if chunk.shape[:-1] != like.shape[:-1] or given != dtype_and_device(like):
            raise ValueError(
                f"chunk must be as those before it, {dtype_and_device(like)} of shape "
                f"{(*like.shape[:-1], 'T')}, got {given} of shape {tuple(chunk.shape)}"
            )

    def check_frames(self, frames: Any) -> None:
        """Raise ValueError for frames of a state of another kind than chunks may be."""

    def own_copy(self, frames: Any) -> Any:
        """A copy of the frames of a state, where the stream computes."""
        return cut(frames, 0)

    def remember(self, chunk: Any) -> None:
        """Keep what a chunk was like, for :meth:`check_chunk` and :meth:`no_frames`."""
        if self._empty_chunk is None:
            self._empty_chunk = detached(cut(chunk, chunk.shape[-1]))

    def clear(self) -> None:
        if self._empty_chunk is not None:
            self._empty_chunk_before, self._empty_chunk = self._empty_chunk, None
        self._received, self._counts, self._carried = 0, None, None

    def clear_rows(self, rows: Array) -> None:
        if not rows.any():
            return
        counts = np.where(rows, 0, self._row_counts(len(rows)))
        if not counts.any():
            self.clear()
            return
        keep = max(count - self.first_kept(count) for count in counts.tolist())
        if keep:
            frames = self._carried[..., self._carried.shape[-1] - keep :]
            stay, going = np.flatnonzero(~rows).tolist(), np.flatnonzero(rows).tolist()
            others = frames[stay]
            zeros = filled(frames, (len(going), *frames.shape[1:]), 0)
            self._carried = stacked(others, [others, zeros], [*stay, *going])
        else:
            self._carried = None
        self._set_counts(counts)

    @property
    def rows_differ(self) -> bool:
        return self._counts is not None

    @property
    def current_batch(self) -> tuple[int, ...] | None:
        if self.batch_size is not None or self._empty_chunk is None:
            return super().current_batch
        return tuple(self._empty_chunk.shape[:-2])

    def output_kind(self) -> Any:
        return None if self._empty_chunk_before is None else self._empty_chunk_before.reshape(-1)

    def advance(self, chunk: Any, last: bool) -> Any:
        if chunk is None:
            chunk = self.no_frames()
            if chunk is None:
                return None
        self.check_chunk(chunk)
        received = self._received + chunk.shape[-1]
        first = self.final_length(self._received)
        stop = max(first, self.length_at_end(received)) if last else self.final_length(received)
        window = chunk if self._carried is None else join(self._carried, chunk)
        if stop == first:
            y = self.no_samples(chunk)
        else:
            y = self.compute(window, received - window.shape[-1], first, stop, last)
        if last:
            self.clear()
        else:
            keep = received - self.first_kept(received)
            self._carried = cut(window, window.shape[-1] - keep) if keep else None
            self._received = received
            self.remember(chunk)
        return y

    def advance_rows(self, chunk: Any, frames: Array, ends: Array) -> tuple[Any, Array]:
        if chunk is None:
            chunk = self.no_frames()
            if chunk is None:
                return None, np.zeros(len(frames), np.int64)
        self.check_chunk(chunk)
        if self._settled is None:
            self._settled = settled_after(self)
        plan = plan_rows(self, self._settled, self._row_counts(len(frames)), frames, ends)
        samples, carried = self._compute_plan(chunk, plan)
        self.remember(chunk)
        if (ends.any() or not len(ends)) and not plan.received.any():  # all rows are as new
            self.clear()
        else:
            self._carried = carried
            self._set_counts(plan.received)
        return samples, plan.counts

    def _compute_plan(self, chunk: Any, plan: RowPlan) -> tuple[Any, Any]:
        """The samples of a plan, and the frames to be carried after it."""
        longest = int(plan.counts.max(initial=0))
        most = max((call.keep for call in plan.calls), default=0)
        pieces, tails = [], []
        order: list[int] = []
        for call in plan.calls:
            window = chunk[call.rows][..., : call.frames]
            if call.kept:
                own = self._carried[call.rows]
                window = join(own[..., own.shape[-1] - call.kept :], window)
            if call.samples:
                stop = call.first_sample + call.samples
                y = self.compute(window, call.first_frame, call.first_sample, stop, call.last)
            else:
                y = self.no_samples(window)
            if call.samples < longest:
                y = join(y, filled(y, (*y.shape[:-1], longest - call.samples), 0))
            tail = cut(window, window.shape[-1] - call.keep)
            if call.keep < most:
                tail = join(filled(tail, (*tail.shape[:-1], most - call.keep), 0), tail)
            pieces.append(y)
            tails.append(tail)
            some = call.rows
            order += range(some.start, some.stop) if isinstance(some, slice) else some.tolist()
        samples = stacked(pieces[0], pieces, order) if pieces else self.no_samples(chunk)
        return samples, stacked(tails[0], tails, order) if most else None

    def _row_counts(self, rows: int) -> Array:
        """The frames that each row has received."""
        if self._counts is not None:
            return self._counts
        counts: Array = np.full(rows, self._received, np.int64)
        return counts

    def _set_counts(self, counts: Array) -> None:
        self._received = int(counts.max(initial=0))
        self._counts = counts if (counts != self._received).any() else None

    def detach(self) -> None:
        if self._carried is not None:
            self._carried = detached(self._carried)

    def state(self) -> dict[str, Any]:
        like = self.no_frames()
        if like is None:
            like = self.empty_output()
        rows = 1 if len(like.shape) == 2 else like.shape[0]
        frames = like if self._carried is None else self._carried
        return {
            "frames": cut(detached(frames), 0),
            "received": integers_like(like, self._row_counts(rows)),
        }

    def prepare_restore(self, state: Mapping[str, Any]) -> Callable[[], None]:
        checked = check_state(state, {"frames", "received"})
        frames, counts = loaded(checked["frames"]), checked["received"]
        try:
            dtype_and_device(frames)
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
        keep = max((count - self.first_kept(count) for count in values), default=0)
        lead = self.lead if self.lead is not None else shape[:-1]
        if shape != (*lead, keep):
            raise ValueError(
                f"state frames must have the shape {(*lead, keep)} after {values} frames, "
                f"got shape {shape}"
            )
        self.check_frames(frames)

        def take() -> None:
            own = self.own_copy(frames)
            self.clear()
            self._carried = own if keep else None
            self._set_counts(np.array(values, np.int64))
            self._empty_chunk = cut(own, keep) if max(values, default=0) else None

        return take


class GeometryStream(ScheduledByGeometry, WindowStream):
    """A window stream of a transposed convolution, or a Conv1d, of this geometry."""

    def __init__(self, geometry: AnyGeometry) -> None:
        self._keep_schedule(geometry)
        self.at_once = self._each_frame_gives

    def first_kept(self, frames: int) -> int:
        return self._geometry.first_kept(frames)

    def part(self, window: Any, start: int, first: int, stop: int, last: bool) -> Geometry:
        """The transposed convolution that makes samples ``[first, stop)`` of the window."""
        g = self._geometry
        assert isinstance(g, Geometry)
        # Between the ends of the signal nothing reaches beyond the frames that are there.
        mode = g.padding_mode if start == 0 or last else "zeros"
        return geometry_of_part(g, start, window.shape[-1], first, stop - first, mode)
