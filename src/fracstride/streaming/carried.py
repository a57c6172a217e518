"""What a layer's stream knows of each row of its batch: frames received, and frames carried."""

from __future__ import annotations

import numpy as np

from fracstride.arrays import Array, DType
from fracstride.conv1d_geometry import AnyGeometry
from fracstride.streaming.rows import RowPlan

__all__ = ["CarriedFrames"]

_LINE = 64  # bytes that a cache reads at once


class CarriedFrames:
    """The progress of each row, and the last frames of each, which later samples still need.

    Row ``b`` has received ``n[b]`` frames and needs the last ``k[b] = n[b] - first_kept(n[b])`` of
    them. Between two calls, this holds:

    - ``received == max(n)``. ``counts`` is ``n`` where rows differ, else None.
    - ``done == final_length(received)``: the samples that are out of the row which has most.
    - ``kept == max(k)``. ``frames()`` is ``(B, channels, kept)``; of row ``b`` its last ``k[b]``
      columns are the frames needed, oldest first, and those before them may hold anything.
    - ``steady`` implies that no rows differ, and that from now on each frame gives ``rate``
      samples, a whole number, and leaves ``kept`` as it is. It only saves work: False is always
      right. (Where a sample takes several frames, ``kept`` varies by that many.)

    Args:
        geometry: the layer's sizes.
        rows: rows ``B`` of the batch.
        channels: numbers per frame, real and imaginary parts counted each.
        dtype: of these numbers.
    """

    __slots__ = (
        "_arrays",
        "_each_frame",
        "_end",
        "channels",
        "counts",
        "done",
        "dtype",
        "geometry",
        "kept",
        "received",
        "rows",
        "steady",
    )

    def __init__(self, geometry: AnyGeometry, rows: int, channels: int, dtype: DType) -> None:
        self.geometry, self.rows, self.channels, self.dtype = geometry, rows, channels, dtype
        rate = geometry.rate  # samples that each frame gives, or 0 where it takes several
        self._each_frame = int(rate) if rate.denominator == 1 else 0
        # Two arrays that take turns: the next frames are put together in the second, while those of
        # now are still in the first, up to its column `_end`.
        self._arrays = [np.empty((rows, channels, 0), dtype) for _ in range(2)]
        self.clear()

    def clear(self) -> None:
        """No frame has been received."""
        self.received, self.done = 0, self.geometry.final_length(0)
        self.counts: Array | None = None
        self.kept = self._end = 0
        self.steady = False

    def frames(self) -> Array:
        """The frames carried, a view."""
        view: Array = self._arrays[0][:, :, self._end - self.kept : self._end]
        return view

    def row_counts(self) -> Array:
        """The frames that each row has received, as a new array."""
        counts: Array = np.full(self.rows, self.received, np.int64)
        if self.counts is not None:
            counts[:] = self.counts
        return counts

    def length_after(self, frames: int, last: bool) -> int:
        """The samples of a push of so many frames into all rows, while no rows differ."""
        received = self.received + frames
        if last:
            return max(self.done, self.geometry.length_at_end(received)) - self.done
        if self.steady:
            return frames * self._each_frame
        return self.geometry.final_length(received) - self.done

    def kept_after(self, received: int) -> int:
        """The frames that a row carries once it has received so many."""
        return received - self.geometry.first_kept(received)

    def most_kept(self, counts: Array) -> int:
        """The frames carried by the row that carries most, after so many frames of each."""
        return max(self.kept_after(int(count)) for count in counts)

    def _room(self, frames: int) -> Array:
        """An array in which so many frames can be put together, to be carried next."""
        array = self._arrays[1]
        if frames > array.shape[-1]:
            line = _LINE // self.dtype.itemsize
            # An odd number of cache lines, so that the rows do not share a few cache sets.
            width = (-(-2 * frames // line) | 1) * line
            array = self._arrays[1] = np.empty((self.rows, self.channels, width), self.dtype)
        return array

    def extend(self, source: Array, keep: int, samples: int) -> None:
        """All rows have received the frames of ``source`` and given samples; carry ``keep``."""
        frames = source.shape[-1]
        if keep:
            array, old = self._room(keep), keep - frames
            if old > 0:
                array[:, :, :old] = self._arrays[0][:, :, self._end - old : self._end]
                array[:, :, old:keep] = source
            else:
                array[:, :, :keep] = source[:, :, -old:]
        self._arrays.reverse()
        self._end = self.kept = keep
        self.received += frames
        self.done += samples
        self.steady = self.done > 0 and keep < self.received and self._each_frame > 0

    def extend_rows(self, source: Array, plan: RowPlan) -> None:
        """Each row has received its frames of ``source``, as a plan says."""
        width = max(call.keep for call in plan.calls)
        room, carried = self._room(width), self.frames()
        for call in plan.calls:
            rows, keep, frames = call.rows, call.keep, call.frames
            old = max(0, keep - frames)  # frames carried before that stay, in front of the new
            if old:
                room[rows, :, width - keep : width - keep + old] = carried[
                    rows, :, carried.shape[-1] - old :
                ]
            if keep > old:
                room[rows, :, width - keep + old : width] = source[
                    rows, :, frames - keep + old : frames
                ]
        self._arrays.reverse()
        self._end = width
        self.set_counts(plan.received, width)

    def clear_rows(self, rows: Array) -> None:
        """The rows of a mask have received no frame."""
        counts = self.row_counts()
        counts[rows] = 0
        self.set_counts(counts, self.most_kept(counts))

    def set_counts(self, counts: Array, kept: int) -> None:
        """Set the frames that each row has received. ``kept`` must be ``most_kept(counts)``."""
        self.received, self.steady = int(counts.max()), False
        self.done = self.geometry.final_length(self.received)
        self.counts = counts if (counts != self.received).any() else None
        self.kept = kept

    def copied_frames(self) -> Array:
        """The frames as a new array, with zeros in front of those that a row needs."""
        frames: Array = self.frames().copy()
        if self.counts is not None:
            for row, count in enumerate(self.counts):
                frames[row, :, : self.kept - self.kept_after(int(count))] = 0
        return frames

    def replace(self, frames: Array, counts: Array) -> None:
        """Go on from copied frames and row counts."""
        kept = frames.shape[-1]
        self._room(kept)[:, :, :kept] = frames
        self._arrays.reverse()
        self._end = kept
        self.set_counts(counts, kept)
