"""A network fed chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil
from typing import Any

import numpy as np

from fracstride.arrays import Array, DType
from fracstride.network.codes import CodeError
from fracstride.network.streaming.chunks import Chunks
from fracstride.network.streaming.codes_ahead import check_codes
from fracstride.network.streaming.memory import StreamMemory
from fracstride.network.streaming.part_plan import PartPlan, Piece
from fracstride.network.streaming.schedule import Schedule
from fracstride.network.streaming.state import prepared, state_of
from fracstride.network.streaming.whole import whole_values
from fracstride.streaming.rows import alike
from fracstride.streaming.staircase import Staircase
from fracstride.streaming.stream import Stream

__all__ = ["NetworkStream"]

#: A push is computed in pieces whose windows take about so many bytes.
_BYTES = 1 << 27


class NetworkStream(Stream):
    """A :class:`fracstride.network.Network` fed chunk by chunk; its ``stream`` method makes it.

    What comes out, one piece after the other, is the output of the network for the whole input, bit
    for bit, in any chunks. After each push exactly those positions are out that no later input
    changes and that an input ending now has too.

    A network of several inputs with time takes as many chunks at each push; they last as many
    ticks. One of several outputs gives a tuple at each push. ``rate``, ``latency`` and
    ``output_length`` are those of the first output, in positions of the first input.

    Args:
        schedule: of the graph that runs.
        dtype: of the signals.
        chunks: what the caller gives at each push, and gets.
        constants: the inputs without time, in their order, for all rows.
    """

    independent_rows = True

    def __init__(
        self,
        schedule: Schedule,
        dtype: DType,
        chunks: Chunks,
        constants: Sequence[Any],
    ) -> None:
        #: What the caller gives and gets.
        self.chunks = chunks
        self.batch_size, self._rows = chunks.batch_size, chunks.rows
        self.independent_rows = self.batch_size is not None
        self.has_several = len(chunks.values) > 1 or len(schedule.graph.outputs) > 1
        #: When what is final.
        self.schedule = schedule
        graph = schedule.graph
        whole = whole_values(graph, self.chunks.constants(constants), self._rows, dtype)
        #: What is carried.
        self.memory = StreamMemory(schedule, self._rows, dtype, whole)
        self._dtype, self._outputs = dtype, graph.outputs
        #: Ticks that each row has received.
        self._ticks = [0] * self._rows
        self._broken = False  # after a push that failed, as for want of memory
        first, out = self.chunks.values[0], graph.outputs[0]
        self._per_tick = int(first.rate)
        self._reads_codes = any(value.is_codes for value in chunks.values)
        self._is_simple = not (self.has_several or self._reads_codes or chunks.may_refuse_end)
        self._all = 0, self._rows
        self.in_channels, self.out_channels = first.channels, out.channels
        self.rate = out.rate / first.rate
        # (A chunk may end between two ticks: what is behind counts from there.)
        between = (self._per_tick - 1) * self.rate
        self.latency = max(0, ceil(schedule.latencies[0] + between))
        self.overhang = None
        each = sum(v.channels * v.rate * v.dtype(dtype).itemsize for v in schedule.after(0).kept)
        most = max(1, int(_BYTES // (each * self._rows)))
        # Whole periods, of which each has the same plan.
        self._most = most - most % schedule.period if most > schedule.period else most

    def push(self, chunk: Any, *more: Any, active: Any = None) -> Any:
        """All that the chunks make final, perhaps of no positions.

        Args:
            chunk: of the first input with time, as the network takes it; ``more``: of the others.
            active: a mask ``(B,)`` of the rows that the chunks are for. The others are not read and
                stay as they are. The result is as long as that of the row which has most;
                ``lengths`` says how many positions of each row count.

        Raises:
            ValueError, TypeError: an argument does not fit. The stream stays as it was.
        """
        if self._is_simple and active is None and not more:
            result = self._push_alike(chunk)
            if result is not None:
                return result
        return self._advance((chunk, *more), "active", active, ends=False)

    def _push_alike(self, chunk: Any) -> Any:
        """The result of a push like one before, if nothing about it is unusual; or None.

        The kernels have emptied the caches: each line of Python costs more than it seems.
        """
        signal = self.chunks.ordinary(chunk)
        if signal is None or self._broken or (self._rows > 1 and self.rows_differ):
            return None
        ticks, before = signal.shape[2] // self._per_tick, self._ticks[0]
        plan = self.memory.usual.get((self.schedule.place(before), ticks))
        if plan is None:
            return None
        ((shape, dtype),) = plan.results
        out = np.empty(shape, dtype)
        self._broken = True  # until all of the push is over
        done = plan.push.run((signal,), (out,))
        if done:
            self._ticks[:] = (before + ticks,) * self._rows
            self._last = shape if self.batch_size is not None else shape[1:]
        self._broken = False
        return self.chunks.result(out) if done else None

    def finish(self, chunk: Any, *more: Any, rows: Any = None) -> Any:
        """``push`` and :meth:`flush` at once; ``rows`` as ``active`` and ``rows`` there."""
        return self._advance((chunk, *more), "rows", rows, ends=True)

    def flush(self, *, rows: Any = None) -> Any:
        """What is left, perhaps of no positions; the stream is then as new.

        Nothing, too, where the network would refuse so short an input. ``rows``: a mask ``(B,)`` of
        the rows that end. They are then as new, and may begin again; the others go on.
        """
        return self._advance(None, "rows", rows, ends=True)

    @property
    def lengths(self) -> Any:
        """How many positions of each row count in the last result; of several results, a tuple."""
        if isinstance(self._last, list):
            return tuple(each.astype(np.int64) for each in self._last)
        return super().lengths

    def final_length(self, frames: int) -> int:
        return self.schedule.output_length(0, frames // self._per_tick)

    def length_at_end(self, frames: int) -> int:
        return self.schedule.length_at_end(0, frames // self._per_tick)

    def staircases(self) -> tuple[Staircase, ...]:
        found = self.schedule.staircase(self.final_length, self._per_tick, self.rate)
        return super().staircases() if found is None else (found,)

    def staircase_at_end(self) -> Staircase | None:
        return self.schedule.staircase(self.length_at_end, self._per_tick, self.rate)

    @property
    def may_end_uneven(self) -> bool:  # type: ignore[override]
        return self.chunks.may_refuse_end

    def check_end(self, frames: int) -> None:
        self.chunks.check_end(frames // self._per_tick)

    def __reduce__(self) -> Any:
        raise TypeError(
            "the stream of a network cannot be copied or pickled: make another one by stream(), "
            "and restore() the state() of this one there"
        )

    def advance(self, chunk: Any, last: bool) -> Any:
        given = None if chunk is None else (chunk,)
        return self._advance(given, "rows", None, ends=last)

    def advance_rows(self, chunk: Any, frames: Array, ends: Array) -> tuple[Any, Array]:
        given = None if chunk is None else self.chunks.signals((chunk,))
        signals, _ = given or self.chunks.empty()
        ticks = [int(count) // self._per_tick for count in frames]
        self._check_ticks(ticks, [bool(end) for end in ends])
        if self._reads_codes:
            some = [x[np.array(ticks) > 0] for x in signals]
            check_codes(self.schedule.graph, self.chunks.values, some)
        with self._pushing():
            outs, lengths = self._some_rows(signals, ticks, [bool(end) for end in ends])
        return self.chunks.results(outs), lengths[0]

    @property
    def rows_differ(self) -> bool:
        return self._rows > 1 and any(ticks != self._ticks[0] for ticks in self._ticks)

    def clear(self) -> None:
        self._begin(0, self._rows)
        self._broken = False

    def clear_rows(self, rows: Array) -> None:
        for row in np.flatnonzero(rows).tolist():
            self._begin(row, row + 1)

    def _begin(self, first: int, stop: int) -> None:
        """These rows are as new."""
        self._ticks[first:stop] = [0] * (stop - first)
        self.memory.restart(slice(first, stop))

    def check_ready(self) -> None:
        if self._broken:
            raise RuntimeError(
                "an earlier push into this stream failed half way: reset() or restore() it first"
            )

    def _advance(self, given: Any, name: str, mask: Any, *, ends: bool) -> Any:
        self.check_ready()
        signals, ticks = self.chunks.empty() if given is None else self.chunks.signals(given)
        if mask is None and not self.rows_differ:
            self._check_ticks([ticks], [ends])
            if self._reads_codes and ticks > self._most:  # else they are first in the only plan
                check_codes(self.schedule.graph, self.chunks.values, signals)
            with self._pushing():
                outs = self._all_rows(signals, ticks, ends)
            shapes = [out.shape if self.batch_size is not None else out.shape[1:] for out in outs]
            self._last = shapes[0] if len(shapes) == 1 else [np.full(s[:-2], s[-1]) for s in shapes]
        else:
            rows = self.checked_mask(name, mask).tolist()
            counts = [ticks * active for active in rows]
            self._check_ticks(counts, [active and ends for active in rows])
            if self._reads_codes:
                some = [x[np.array(rows, bool)] for x in signals]
                check_codes(self.schedule.graph, self.chunks.values, some)
            with self._pushing():
                outs, lengths = self._some_rows(signals, counts, [r and ends for r in rows])
            self._last = lengths[0] if len(lengths) == 1 else lengths
        return self.chunks.results(outs)

    def _check_ticks(self, ticks: Sequence[int], ends: Sequence[bool]) -> None:
        """Raise ``ValueError`` for rows that would become longer than the network takes."""
        for before, count, end in zip(self._ticks, ticks, ends, strict=False):
            if end:
                self.chunks.check_end(before + count)
            elif count:
                self.chunks.check_longer(before + count)

    def _all_rows(self, signals: Sequence[Array], ticks: int, ends: bool) -> list[Array]:
        before, rows = self._ticks[0], self._all
        if ticks <= self._most and (not ends or before + ticks >= self.schedule.least):
            plan = self.memory.plan(Piece(self.schedule.place(before), ticks, ends, rows))
            outs = [np.empty(shape, dtype) for shape, dtype in plan.results]
            self._run(plan, signals, outs)
            self._advanced(rows, ticks, ends)
            return outs
        lengths = self._lengths(before, ticks, ends)
        outs = [
            np.empty((self._rows, value.channels, length), value.dtype(self._dtype))
            for value, length in zip(self._outputs, lengths, strict=True)
        ]
        self._compute(signals, outs, rows, before, ticks, ends)
        return outs

    @contextmanager
    def _pushing(self) -> Iterator[None]:
        """A push, that may fail: for want of memory, or for a code that no table has."""
        try:
            yield
        except CodeError:  # it is found first: nothing has changed, but for pieces before
            raise
        except BaseException:
            self._broken = True
            raise
        self._broken = False

    def _run(self, plan: PartPlan, signals: Sequence[Array], outs: Sequence[Array]) -> None:
        plan.run(signals, outs)
        self._broken = True  # until the push is over

    def _advanced(self, rows: tuple[int, int], ticks: int, ends: bool) -> None:
        """These rows have received so many ticks more, and perhaps end."""
        if ends:
            self._begin(*rows)
        else:
            first, stop = rows
            self._ticks[first:stop] = [before + ticks for before in self._ticks[first:stop]]

    def _some_rows(
        self, signals: Sequence[Array], ticks: Sequence[int], ends: Sequence[bool]
    ) -> tuple[list[Array], list[Array]]:
        """The outputs where each row gets ticks of its own, and how long they are by row."""
        lengths = np.array(
            [
                self._lengths(before, count, end)
                for before, count, end in zip(self._ticks, ticks, ends, strict=True)
            ],
            np.int64,
        ).reshape(self._rows, -1)
        outs = [
            np.zeros((self._rows, value.channels, int(each.max())), value.dtype(self._dtype))
            for value, each in zip(self._outputs, lengths.T, strict=True)
        ]
        # Rows that began at other times are at the same place, once no edge is near.
        places = np.array([self.schedule.place(before) for before in self._ticks])
        columns = places, np.array(ticks), np.array(ends)
        for (before, count, end), some in alike(*columns):
            if not count and not end:
                continue
            runs = (
                [(some.start, some.stop)]
                if isinstance(some, slice)
                else [(r, r + 1) for r in some.tolist()]
            )
            for first, stop in runs:
                own = [out[first:stop, :, : lengths[first, i]] for i, out in enumerate(outs)]
                chunk = [x[first:stop] for x in signals]
                self._compute(chunk, own, (first, stop), before, count, bool(end))
        return outs, list(lengths.T)

    def _lengths(self, before: int, ticks: int, ends: bool) -> list[int]:
        """How long the outputs of so many ticks more are."""
        schedule, after = self.schedule, before + ticks
        total = schedule.length_at_end if ends else schedule.output_length
        return [
            max(0, total(i, after) - schedule.output_length(i, before))
            for i in range(len(self._outputs))
        ]

    def _compute(
        self,
        signals: Sequence[Array],
        outs: Sequence[Array],
        rows: tuple[int, int],
        before: int,
        ticks: int,
        ends: bool,
    ) -> None:
        """Compute rows that are at the same place, in pieces."""
        schedule, total = self.schedule, before + ticks
        if ends and total < schedule.least:
            self._begin(*rows)
            return
        done, now, last = [0] * len(outs), before, False
        while not last:
            count = min(total - now, self._most)
            last = now + count == total
            plan = self.memory.plan(Piece(schedule.place(now), count, ends and last, rows))
            new = [
                x[:, :, int(v.rate) * (now - before) : int(v.rate) * (now - before + count)]
                for v, x in zip(self.chunks.values, signals, strict=True)
            ]
            stops = [at + shape[2] for at, (shape, _) in zip(done, plan.results, strict=True)]
            own = [out[:, :, at:to] for out, at, to in zip(outs, done, stops, strict=True)]
            self._run(plan, new, own)
            done, now = stops, now + count
        self._advanced(rows, ticks, ends)

    def state(self) -> dict[str, Array]:
        """All that is carried, as new arrays: ticks by row, positions by signal, and states."""
        return state_of(self.memory, self._ticks, self._dtype)

    def prepare_restore(self, state: Mapping[str, Any]) -> Callable[[], None]:
        ticks, put = prepared(state, self.state(), self.memory)

        def take() -> None:
            put()
            self._ticks, self._broken = list(ticks), False

        return take

    def empty_output(self) -> Any:
        return self.chunks.results(
            [np.empty((self._rows, v.channels, 0), v.dtype(self._dtype)) for v in self._outputs]
        )

    def __str__(self) -> str:
        """The schedule: a line for each operation."""
        return str(self.schedule)

    def __repr__(self) -> str:
        return (
            f"NetworkStream(batch_size={self.batch_size}, rate={self.rate}, latency={self.latency})"
        )
