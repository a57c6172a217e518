"""The stream of one layer.

What is carried is the input frames that are still needed, as they came: sums begun in one chunk and
ended in the next would be added up in another order. The kernel reads them and the chunk as one
signal, so that no chunk is copied to lie behind them; then the last frames are carried on. They are
the real parts that the kernels read, so that nothing is converted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from fracstride.arguments import MAX_SIZE, as_size
from fracstride.arrays import Array, as_operands, ready, split_channels
from fracstride.checks import check_out, check_slope
from fracstride.packed import PackedLayer
from fracstride.streaming.carried import CarriedFrames
from fracstride.streaming.pieces import loaded
from fracstride.streaming.rows import RowPlan, plan_rows, settled_after
from fracstride.streaming.schedule import ScheduledByGeometry
from fracstride.streaming.stream import Stream, check_state, check_streams, shown_shape

__all__ = ["LayerStream"]


class HasPacked(Protocol):
    """A layer that a stream can be made of."""

    @property
    def packed(self) -> PackedLayer[Any]:
        """What the layer computes with."""


class LayerStream(ScheduledByGeometry, Stream):
    """A :class:`fracstride.ConvTranspose1d` or :class:`fracstride.Conv1d` fed chunk by chunk.

    It is made by the layer's ``stream`` method. After ``T`` frames, exactly the samples have come
    out that no later frame changes and that an input ending now has too: of a transposed
    convolution ``[0, min(T*s - p_l, L_out(T)))``, of a Conv1d those whose last tap is on a frame
    received, ``[0, floor((T + p_l - span)/s) + 1)``. With ``reflect``, none before the frames that
    the left edge mirrors. The weight is the layer's at the time of a push.

    Args:
        layer: of any padding mode but ``circular``.
        batch_size: rows ``B >= 1`` of a chunk ``(B, C_in, T)``, or None for chunks ``(C_in, T)``.
        negative_slope: of a leaky ReLU of the input, as when the layer is called.

    Raises:
        ValueError, TypeError: for an argument that does not fit, with its name.

    >>> import fracstride as fs
    >>> stream = fs.ConvTranspose1d.from_weights(np.ones((1, 1, 4)), stride=2, padding=1).stream()
    >>> stream.latency, stream.push([[[1.0, 2.0]]]), stream.push([[[4.0]]]), stream.flush()
    (1, array([[[1., 3., 3.]]]), array([[[6., 6.]]]), array([[[4.]]]))
    """

    can_add = True

    def __init__(
        self,
        layer: HasPacked,
        batch_size: int | None = 1,
        *,
        negative_slope: float | None = None,
    ) -> None:
        packed = layer.packed
        g = packed.geometry
        check_streams(g)
        self.batch_size = None if batch_size is None else as_size("batch_size", batch_size, 1)
        self._slope, self._given_slope = 1.0, negative_slope
        if negative_slope is not None:
            self._slope = check_slope(negative_slope, packed.dtype)
        self._keep_schedule(g)
        self.in_channels, self.out_channels = packed.in_channels, packed.out_channels
        self.independent_rows = batch_size is not None
        self.at_once = self._each_frame_gives

        self._layer, self._packed = layer, packed
        self._dtype, self._real = packed.dtype, packed.real
        self._lead: tuple[int, ...] = (packed.in_channels,)
        self._rows = 1
        if self.batch_size is not None:
            self._lead = (self.batch_size, packed.in_channels)
            self._rows = self.batch_size
        self._lead_out = (*self._lead[:-1], packed.out_channels)
        channels = packed.in_channels * (2 if packed.dtype.kind == "c" else 1)
        self._carried = CarriedFrames(g, self._rows, channels, self._real)
        self._settled: int | None = None  # for plans of rows; found when the first is made
        # The kernel reads a residual of two pieces where these meet as pieces of the input do.
        self._splits_frames = g.is_transposed and g.stride > 1

    def output_length(
        self, frames: int, *, last: bool = False, rows: ArrayLike | None = None
    ) -> int:
        """The samples that a push of so many frames would give now; ``last``: :meth:`finish`.

        So of a new stream, those that are out after so many frames. ``rows``: the mask that the
        push would have.

        >>> import fracstride as fs
        >>> stream = fs.ConvTranspose1d(1, 1, kernel_size=4, stride=2, padding=1).stream()
        >>> stream.output_length(3), stream.output_length(3, last=True)
        (5, 6)
        """
        return self._plan(as_size("frames", frames), rows, last)[1]

    def push(
        self, chunk: ArrayLike, *, active: ArrayLike | None = None, out: Array | None = None
    ) -> Array:
        """The samples ``(B, C_out, T')`` that a chunk ``(B, C_in, T)`` makes final, perhaps none.

        Args:
            chunk: of the layer's dtype, ``T >= 0``.
            active: a mask ``(B,)`` of the rows that the chunk is for. The others are not read,
                stay as they are, and give zeros. Where rows differ in how many samples they have,
                the result is as long as the longest, and ``lengths`` says how many each has.
            out: a writable array for the samples, of their shape (see :meth:`output_length`) and
                dtype, with any strides. It may not overlap the chunk.

        Raises:
            ValueError, TypeError: for an argument that does not fit. The stream stays as it was.
        """
        return self._advance(chunk, active, out)

    def finish(
        self, chunk: ArrayLike, *, rows: ArrayLike | None = None, out: Array | None = None
    ) -> Array:
        """``push(chunk)`` and :meth:`flush` at once."""
        return self._advance(chunk, rows, out, last=True)

    def flush(self, *, rows: ArrayLike | None = None, out: Array | None = None) -> Array:
        """The samples that are left, perhaps none; the stream is then as new.

        None, too, where the layer would refuse so short an input. ``rows``: a mask ``(B,)`` of the
        rows that end; the others go on, and give zeros.
        """
        return self._advance(self._no_frames(), rows, out, last=True)

    def check_chunk(self, chunk: Any) -> None:
        self._operand(chunk)

    def advance(self, chunk: Any, last: bool) -> Array:
        return self._advance(self._no_frames() if chunk is None else chunk, None, None, last)

    def advance_rows(self, chunk: Any, frames: Array, ends: Array) -> tuple[Array, Array]:
        x = self._operand(self._no_frames() if chunk is None else chunk)
        plan = self._plan_rows(frames, ends)
        y = np.empty((*self._lead_out, int(plan.counts.max())), self._dtype)
        self._some_rows(x, plan, y)
        return y, plan.counts

    @property
    def rows_differ(self) -> bool:
        return self._carried.counts is not None

    def clear(self) -> None:
        self._carried.clear()

    def clear_rows(self, rows: Array) -> None:
        self._carried.clear_rows(rows)

    def state(self) -> dict[str, Array]:
        """What is carried: the frames, and how many there were by row, as new arrays.

        Frames are what the kernels read: of the layer's dtype, or the real and imaginary parts by
        group of complex numbers.
        """
        carried = self._carried
        return {"frames": carried.copied_frames(), "received": carried.row_counts()}

    def prepare_restore(self, state: Mapping[str, ArrayLike]) -> Callable[[], None]:
        checked = check_state(state, {"frames", "received"})
        counts, frames = np.asarray(checked["received"]), loaded(np.asarray(checked["frames"]))
        if (
            counts.dtype.kind not in "iu"
            or counts.shape != (self._rows,)
            or any(not 0 <= int(count) <= MAX_SIZE for count in counts)
        ):
            raise ValueError(
                f"state received must be {self._rows} integers from 0 to 2**62, one for each row, "
                f"got {counts.dtype} of shape {counts.shape}: {counts}"
            )
        carried = self._carried
        shape = self._rows, carried.channels, carried.most_kept(counts)
        if frames.shape != shape or frames.dtype != self._real:
            raise ValueError(
                f"state frames must be {self._real} of shape {shape} "
                f"after {counts.max()} frames, got {frames.dtype} of shape {frames.shape}"
            )
        return lambda: carried.replace(frames, counts.astype(np.int64))

    def advance_adding(self, chunk: Any, waiting: Any, piece: Any) -> tuple[Array, bool]:
        """Advance, and let the kernel add ``waiting`` followed by ``piece`` to the samples."""
        residual = None
        if isinstance(chunk, np.ndarray) and chunk.ndim and chunk.shape[:-1] == self._lead:
            length = self._carried.length_after(chunk.shape[-1], last=False)
            residual = self._residual(length, waiting, piece)
        return self._advance(chunk, None, None, residual=residual), residual is not None

    def _residual(self, length: int, waiting: Any, piece: Any) -> tuple[Array | None, Array] | None:
        """What the kernel adds to so many samples: two pieces, of which the first may be missing.

        None where it cannot: for complex numbers, and pieces of another kind or too short.
        """
        shape = self._lead_out
        early = 0 if waiting is None else min(length, waiting.shape[-1])
        if (
            not isinstance(piece, np.ndarray)
            or not (self._dtype == self._real == piece.dtype)
            or piece.shape[:-1] != shape
            or early + piece.shape[-1] < length
            or (early and (waiting.shape[:-1] != shape or waiting.dtype != self._dtype))
        ):
            return None
        if not early:
            return None, piece[..., :length]
        before, after = ready(waiting[..., :early]), piece[..., : length - early]
        if self._splits_frames:
            return None, np.concatenate([before, after], -1)
        return before, after

    def _no_frames(self) -> Array:
        return np.empty((*self._lead, 0), self._dtype)

    def _advance(
        self,
        chunk: ArrayLike,
        rows: ArrayLike | None,
        out: Array | None,
        last: bool = False,
        residual: tuple[Array | None, Array] | None = None,
    ) -> Array:
        x: Array
        if (
            type(chunk) is np.ndarray
            and (chunk.dtype is self._dtype or chunk.dtype == self._dtype)
            and chunk.shape[:-1] == self._lead
        ):
            x = chunk
        else:
            x = self._operand(chunk)
        plan = None
        if rows is None and self._carried.counts is None:
            length = self._carried.length_after(x.shape[-1], last)
        else:
            plan, length = self._plan(x.shape[-1], rows, last)
        if out is not None:
            check_out(out, (*self._lead_out, length), self._dtype, (chunk, x))
        if plan is not None:
            y = np.empty((*self._lead_out, length), self._dtype) if out is None else out
            self._some_rows(x, plan, y)
            self._last = plan.counts
            return y
        if self.batch_size is None:
            y = self._unbatched(x, length, out, residual, last)
        else:
            y = self._all_rows(x, length, out, residual, last)
        self._last = length
        return y if out is None else out

    def _operand(self, chunk: ArrayLike) -> Array:
        x: Array
        (x,) = as_operands(self._dtype, chunk=chunk)
        if x.shape[:-1] != self._lead or x.ndim == 0:
            raise ValueError(
                f"chunk must have the shape {shown_shape(self._lead)}, got shape {x.shape}"
            )
        return x

    def _plan(self, frames: int, mask: ArrayLike | None, last: bool) -> tuple[RowPlan | None, int]:
        """The plan for so many frames of the rows of a mask; and the length of the result.

        No plan where all rows advance together.
        """
        carried = self._carried
        if mask is None and carried.counts is None:
            return None, carried.length_after(frames, last)
        rows = self.checked_mask("rows" if last else "active", mask)
        if carried.counts is None and rows.all():
            return None, carried.length_after(frames, last)
        plan = self._plan_rows(frames * rows.astype(np.int64), rows & last)
        # Where each frame gives its samples at once, an empty mask gives a result as long.
        at_once = self.at_once and not last
        return plan, frames * int(self.rate) if at_once else int(plan.counts.max())

    def _plan_rows(self, frames: Array, ends: Array) -> RowPlan:
        if self._settled is None:
            self._settled = settled_after(self._geometry)
        counts = self._carried.row_counts()
        return plan_rows(self._geometry, self._settled, counts, frames, ends)

    def _unbatched(
        self,
        x: Array,
        length: int,
        out: Array | None,
        residual: tuple[Array | None, Array] | None,
        last: bool,
    ) -> Array:
        if residual is not None:
            before, after = residual
            residual = None if before is None else before[None], after[None]
        out = None if out is None else out[None]
        y: Array = self._all_rows(x[None], length, out, residual, last)[0]
        return y

    def _all_rows(
        self,
        x: Array,
        length: int,
        out: Array | None,
        residual: tuple[Array | None, Array] | None,
        last: bool,
    ) -> Array:
        carried = self._carried
        kept, frames = carried.kept, x.shape[-1]
        keep = kept
        if last:
            keep = 0
        elif not carried.steady:
            keep = carried.kept_after(carried.received + frames)
        source = ready(x if self._dtype is self._real else self._real_parts(x))
        before = carried.frames() if kept else None
        y = self._samples(
            source, before, carried.received - kept, carried.done, length, out, residual
        )
        if last:
            carried.clear()
        else:
            carried.extend(source, keep, length)
        return y

    def _some_rows(self, x: Array, plan: RowPlan, out: Array) -> None:
        source, carried = ready(self._real_parts(x)), self._carried.frames()
        for call in plan.calls:
            y, samples = out[call.rows], call.samples  # a copy where the rows are no neighbours
            if samples:
                before = None
                if call.kept:
                    before = ready(carried[call.rows, :, carried.shape[-1] - call.kept :])
                new = ready(source[call.rows, :, : call.frames])
                first, out_samples = call.first_sample, y[..., :samples]
                self._samples(new, before, call.first_frame, first, samples, out_samples)
            y[..., samples:] = 0
            if not isinstance(call.rows, slice):
                out[call.rows] = y
        self._carried.extend_rows(source, plan)

    def _samples(
        self,
        source: Array,
        carried: Array | None,
        start: int,
        first: int,
        length: int,
        out: Array | None,
        residual: tuple[Array | None, Array] | None = None,
    ) -> Array:
        """Samples ``first ...`` of frames that begin with frame ``start``."""
        if length == 0:
            if out is not None:
                return out
            return np.empty((len(source), self._packed.out_channels, 0), self._dtype)
        return self._packed.samples(
            source,
            self._geometry.crop_of_part(start, first),
            length,
            out,
            None if residual is None else residual[1],
            self._slope,
            carried,
            None if residual is None else residual[0],
        )

    def _real_parts(self, x: Array) -> Array:
        """What the kernels read of frames."""
        if self._dtype == self._real:
            return x
        return split_channels(x, self._packed.groups, self._real)

    def __repr__(self) -> str:
        more = "" if self.batch_size == 1 else f"batch_size={self.batch_size}"
        if self._slope != 1:
            more += (", " if more else "") + f"negative_slope={self._given_slope}"
        return f"{self._layer!r}.stream({more})"
