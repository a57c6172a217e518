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
from fracstride.part_geometry import crop_of_part
from fracstride.streaming.rows import RowPlan, plan_rows
from fracstride.streaming.stream import Stream, check_mode, check_state, loaded, shown_shape

__all__ = ["LayerStream"]

_LINE = 64  # bytes that a cache reads at once


class HasPacked(Protocol):
    """A layer that a stream can be made of."""

    @property
    def packed(self) -> PackedLayer:
        """What the layer computes with."""


class LayerStream(Stream):
    """A :class:`fracstride.ConvTranspose1d` fed chunk by chunk, made by its ``stream`` method.

    After ``T`` frames, exactly the samples ``[0, min(T*s - p_l, L_out(T)))`` have come out: no
    later frame changes them, and an input that ends now has them too. With ``reflect``, none
    before the frames that the left edge mirrors. The weight is the layer's at the time of a push.

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

    def __init__(
        self,
        layer: HasPacked,
        batch_size: int | None = 1,
        *,
        negative_slope: float | None = None,
    ) -> None:
        packed = layer.packed
        g = packed.geometry
        check_mode(g)
        self.batch_size = None if batch_size is None else as_size("batch_size", batch_size, 1)
        self._slope, self._given_slope = 1.0, negative_slope
        if negative_slope is not None:
            self._slope = check_slope(negative_slope, packed.dtype)
        self.stride, self.latency, self.overhang = g.stride, g.latency, g.overhang
        self.in_channels, self.out_channels = packed.in_channels, packed.out_channels
        self.independent_rows = batch_size is not None
        # A mirrored left edge makes the first samples wait.
        self._at_once = g.latency == 0 and g.mirrored_left == 0

        self._layer, self._packed, self._geometry = layer, packed, g
        self._dtype, self._real = packed.dtype, packed.real
        self._lead: tuple[int, ...] = (packed.in_channels,)
        self._rows = 1
        if self.batch_size is not None:
            self._lead = (self.batch_size, packed.in_channels)
            self._rows = self.batch_size
        self._lead_out = (*self._lead[:-1], packed.out_channels)
        self._channels = packed.in_channels * (2 if packed.dtype.kind == "c" else 1)
        # Two arrays that take turns: the next frames are put together while these are still there.
        self._arrays = [np.empty((self._rows, self._channels, 0), self._real) for _ in range(2)]
        self._set(0)

    def _set(self, received: int) -> None:
        self._received = received  # frames so far, of every row, or of the one that has most
        self._done = self._geometry.final_length(received)  # samples so far
        self._counts: Array | None = None  # frames so far by row, where rows differ
        self._uneven = False
        self._kept = 0  # frames carried, of the row that has most
        self._end = 0  # the column where every row's end
        self._steady = False  # whether each frame now gives `stride` samples, and `_kept` stays

    def output_length(
        self, frames: int, *, last: bool = False, rows: ArrayLike | None = None
    ) -> int:
        """The samples that a push of so many frames would give now; ``last``: :meth:`finish`.

        ``rows``: the mask that the push would have.

        >>> import fracstride as fs
        >>> stream = fs.ConvTranspose1d(1, 1, kernel_size=4, stride=2, padding=1).stream()
        >>> stream.output_length(3), stream.output_length(3, last=True)
        (5, 6)
        """
        count = as_size("frames", frames)
        if rows is None and self._counts is None:
            return self._done_after(self._received + count, last) - self._done
        return self._plan(count, rows, last)[1]

    def _done_after(self, received: int, last: bool) -> int:
        """The samples that are out after so many frames."""
        if last:
            return max(self._done, self._geometry.length_at_end(received))
        if self._steady:
            return received * self.stride - self.latency
        return self._geometry.final_length(received)

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

    def _adds(self) -> bool:
        return True

    def _push_onto(self, chunk: Any, waiting: Any, piece: Any) -> tuple[Array, bool]:
        if not isinstance(chunk, np.ndarray) or chunk.shape[:-1] != self._lead or chunk.ndim == 0:
            return self.push(chunk), False  # which converts it, or says what is wrong
        length = self._done_after(self._received + chunk.shape[-1], last=False) - self._done
        early = 0 if waiting is None else min(length, waiting.shape[-1])
        shape = self._lead_out
        # What takes another road otherwise: rows on their own, complex numbers.
        if (
            self._counts is not None
            or not isinstance(piece, np.ndarray)
            or not (self._dtype == self._real == piece.dtype)
            or piece.shape[:-1] != shape
            or early + piece.shape[-1] < length
            or (early and (waiting.shape[:-1] != shape or waiting.dtype != self._dtype))
        ):
            return self.push(chunk), False
        before = None
        if early:
            before, piece = ready(waiting[..., :early]), piece[..., : length - early]
            if self.stride > 1:  # the kernel splits frames, not samples
                before, piece = None, np.concatenate([before, piece], -1)
        residual = before, piece[..., :length]
        return self._advance(chunk, None, None, residual=residual), True

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
        nothing = np.empty((*self._lead, 0), self._dtype)
        return self._advance(nothing, rows, out, last=True)

    def reset(self, *, rows: ArrayLike | None = None) -> None:
        """Make the stream as new; or the ``rows`` of a mask ``(B,)``."""
        if rows is None:
            self._last = 0
            return self._set(0)
        counts = self._row_counts()
        counts[self._mask("rows", rows)] = 0
        self._set_counts(counts, self._most_kept(counts))
        return None

    def state(self) -> dict[str, Array]:
        """What is carried: the frames, and how many there were by row, as new arrays.

        Frames are what the kernels read: of the layer's dtype, or the real and imaginary parts by
        group of complex numbers.
        """
        frames: Array = self._carried().copy()
        counts = self._row_counts()
        for row, count in enumerate(counts):
            kept = self._kept_after(int(count))
            frames[row, :, : self._kept - kept] = 0
        return {"frames": frames, "received": counts}

    def _checked(self, state: Mapping[str, ArrayLike]) -> Callable[[], None]:
        given = check_state(state, {"frames", "received"})
        counts, frames = np.asarray(given["received"]), loaded(np.asarray(given["frames"]))
        if (
            counts.dtype.kind not in "iu"
            or counts.shape != (self._rows,)
            or any(not 0 <= int(count) <= MAX_SIZE for count in counts)
        ):
            raise ValueError(
                f"state received must be {self._rows} integers from 0 to 2**62, one for each row, "
                f"got {counts.dtype} of shape {counts.shape}: {counts}"
            )
        kept = self._most_kept(counts)
        if frames.shape != (self._rows, self._channels, kept) or frames.dtype != self._real:
            raise ValueError(
                f"state frames must be {self._real} of shape {(self._rows, self._channels, kept)} "
                f"after {counts.max()} frames, got {frames.dtype} of shape {frames.shape}"
            )

        def take() -> None:
            self._room(kept)[...] = frames
            self._arrays.reverse()
            self._end, self._last = kept, 0
            self._set_counts(counts.astype(np.int64), kept)

        return take

    def _kept_after(self, received: int) -> int:
        return received - self._geometry.first_kept(received)

    def _most_kept(self, counts: Array) -> int:
        return max(self._kept_after(int(count)) for count in counts)

    def _row_counts(self) -> Array:
        """How many frames each row received, as an array of one's own."""
        counts: Array = np.full(self._rows, self._received, np.int64)
        if self._counts is not None:
            counts[:] = self._counts
        return counts

    def _set_counts(self, counts: Array, kept: int) -> None:
        """Rows may have received different numbers of frames; at most so many are carried."""
        self._received, self._steady = int(counts.max()), False
        self._done = self._geometry.final_length(self._received)
        self._uneven = bool((counts != self._received).any())
        self._counts = counts if self._uneven else None
        self._kept = kept

    def _advance(
        self,
        chunk: ArrayLike,
        rows: ArrayLike | None,
        out: Array | None,
        *,
        last: bool = False,
        residual: tuple[Array | None, Array] | None = None,
    ) -> Array:
        x: Array
        if (
            type(chunk) is np.ndarray
            and chunk.dtype == self._dtype
            and chunk.shape[:-1] == self._lead
        ):
            x = chunk
        else:
            x = self._operand(chunk)
        plan = None
        if rows is None and self._counts is None:
            length = self._done_after(self._received + x.shape[-1], last) - self._done
        else:
            plan, length = self._plan(x.shape[-1], rows, last)
        if out is not None:
            check_out(out, (*self._lead_out, length), self._dtype, (chunk, x))
        x3, out3 = x, out
        if self.batch_size is None:
            x3, out3 = x[None], None if out is None else out[None]
            if residual is not None:
                before, after = residual
                residual = None if before is None else before[None], after[None]
        if plan is None:
            y = self._all_rows(x3, length, out3, residual, last)
        else:
            y = np.empty((*self._lead_out, length), self._dtype) if out is None else out
            self._some_rows(x, plan, y)
        if out is not None:
            return out
        return y if self.batch_size is not None else y[0]

    def _operand(self, chunk: ArrayLike) -> Array:
        x: Array
        (x,) = as_operands(self._dtype, chunk=chunk)
        if x.shape[:-1] != self._lead or x.ndim == 0:
            raise ValueError(
                f"chunk must have the shape {shown_shape(self._lead)}, got shape {x.shape}"
            )
        return x

    def _all_rows(
        self,
        x: Array,
        length: int,
        out: Array | None,
        residual: tuple[Array | None, Array] | None,
        last: bool,
    ) -> Array:
        kept, frames = self._kept, x.shape[-1]
        received = self._received + frames
        keep = 0 if last else kept if self._steady else self._kept_after(received)
        source = ready(x if self._dtype is self._real else self._real_parts(x))
        room = self._room(keep)
        carried = self._carried() if kept else None
        y = self._samples(source, carried, self._received - kept, self._done, length, out, residual)
        self._last = length
        if last:
            self._set(0)
            return y
        old = keep - frames
        if old > 0:
            room[:, :, :old] = self._arrays[0][:, :, self._end - old : self._end]
            room[:, :, old:] = source
        elif keep:
            room[...] = source[:, :, -old:]
        self._arrays.reverse()
        self._end = self._kept = keep
        self._received, self._done = received, self._done + length
        self._steady = self._done > 0 and keep < received
        return y

    def _push_rows(self, chunk: Any, active: Any) -> Array:
        return self._advance(chunk, active, None)

    def _plan(self, frames: int, mask: ArrayLike | None, last: bool) -> tuple[RowPlan, int]:
        """The plan for so many frames of the rows of a mask; and the length of the result."""
        rows = self._mask("rows" if last else "active", mask)
        count = frames * rows.astype(np.int64)
        plan = plan_rows(self._geometry, self._row_counts(), count, rows & last)
        # Where each frame gives its samples at once, as long for nobody as for somebody.
        at_once = self._at_once and not last
        return plan, frames * self.stride if at_once else int(plan.counts.max())

    def _advance_rows(self, chunk: Any, frames: Array, ends: Array) -> tuple[Array, Array]:
        x = np.empty((*self._lead, 0), self._dtype) if chunk is None else self._operand(chunk)
        plan = plan_rows(self._geometry, self._row_counts(), frames, ends)
        y = np.empty((*self._lead_out, int(plan.counts.max())), self._dtype)
        self._some_rows(x, plan, y)
        return y, plan.counts

    def _some_rows(self, x: Array, plan: RowPlan, out: Array) -> None:
        source, carried = ready(self._real_parts(x)), self._carried()
        width = max(part.keep for part in plan.parts)
        room = self._room(width)
        for rows, first_frame, kept, frames, first, samples, keep in plan.parts:
            own, new = carried[rows, :, carried.shape[-1] - kept :], source[rows, :, :frames]
            y = out[rows]  # a copy where the rows are no neighbours
            if samples:
                before = ready(own) if kept else None
                self._samples(ready(new), before, first_frame, first, samples, y[..., :samples])
            y[..., samples:] = 0
            if not isinstance(rows, slice):
                out[rows] = y
            # The last `keep` of both, to end where all rows end.
            old = max(0, keep - frames)
            if old:
                room[rows, :, width - keep : width - keep + old] = own[:, :, kept - old :]
            if keep > old:
                room[rows, :, width - keep + old :] = new[:, :, frames - keep + old :]
        self._arrays.reverse()
        self._end, self._last = width, plan.counts
        self._set_counts(plan.received, width)

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
            crop_of_part(self._geometry, start, first),
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

    def _carried(self) -> Array:
        return self._arrays[0][:, :, self._end - self._kept : self._end]

    def _room(self, frames: int) -> Array:
        """Where so many frames can be put together, to be the carried ones next."""
        array = self._arrays[1]
        if frames > array.shape[-1]:
            line = _LINE // self._real.itemsize
            # An odd number of cache lines, so that the rows do not share a few cache sets.
            width = (-(-2 * frames // line) | 1) * line
            array = self._arrays[1] = np.empty((self._rows, self._channels, width), self._real)
        return array[:, :, :frames]

    def __repr__(self) -> str:
        more = "" if self.batch_size == 1 else f"batch_size={self.batch_size}"
        if self._slope != 1:
            more += (", " if more else "") + f"negative_slope={self._given_slope}"
        return f"{self._layer!r}.stream({more})"
