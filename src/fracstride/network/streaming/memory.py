"""The memory of a network's stream: one arena of windows, and the plans that are bound to it."""

from __future__ import annotations

from collections import OrderedDict

from fracstride.arrays import Array, DType
from fracstride.network.graph import Node
from fracstride.network.memory import Arena
from fracstride.network.streaming.part_plan import PartPlan, Piece, after_piece
from fracstride.network.streaming.schedule import Schedule
from fracstride.network.value import Value

__all__ = ["StreamMemory"]

_LINE = 64  # bytes that a cache reads at once
_PLANS = 512  # pieces whose steps are remembered


class StreamMemory:
    """What is carried from push to push, for so many rows.

    Args:
        schedule: of the network.
        batch: rows.
        dtype: of the signals.
        whole: the values without time.
    """

    def __init__(
        self, schedule: Schedule, batch: int, dtype: DType, whole: dict[Value, Array]
    ) -> None:
        #: Of the network.
        self.schedule = schedule
        self._batch, self._dtype, self._whole = batch, dtype, whole
        self._arena = Arena()
        self._plans: OrderedDict[Piece, PartPlan] = OrderedDict()
        #: Those of them that are for all rows and do not end the signal, by place and ticks.
        self.usual: dict[tuple[int, int], PartPlan] = {}
        #: The window of each value with memory of its own.
        self.windows: dict[Value, Array] = {}
        self._room = dict.fromkeys(schedule.after(0).kept, -1)
        self._first = {
            node: state
            for node in schedule.nodes
            if (state := node.operation.new_state(batch)) is not None
        }
        #: What operations carry themselves.
        self.states: dict[Node, Array] = {n: state.copy() for n, state in self._first.items()}

    def plan(self, piece: Piece) -> PartPlan:
        """The steps of a piece."""
        plan = self._plans.get(piece)
        if plan is None:
            return self._new_plan(piece)
        self._plans.move_to_end(piece)
        return plan

    @property
    def pieces(self) -> list[Piece]:
        """Those whose steps are remembered."""
        return list(self._plans)

    def restart(self, rows: slice) -> None:
        """Some rows begin anew."""
        for node, state in self.states.items():
            state[..., rows, :] = self._first[node][..., rows, :]

    def reserve(self, positions: dict[Value, int]) -> None:
        """Have room for so many positions of each value; what is there stays."""
        if all(self._room[value] >= count for value, count in positions.items()):
            return
        # More than is asked for now: chunks of other sizes come later.
        room = {v: max(n, positions[v] + positions[v] // 4) for v, n in self._room.items()}
        batch, widths, size = self._batch, {}, 0
        for value, count in room.items():
            # An odd number of cache lines to a row, so that rows do not share a few of its sets.
            item = value.dtype(self._dtype).itemsize
            widths[value] = (-(-count * item // _LINE) | 1) * _LINE // item
            size += batch * value.channels * widths[value] * item
        arena, windows, start = Arena(), dict[Value, Array](), 0
        arena.reserve(size)
        for value, width in widths.items():
            shape = batch, value.channels, width
            windows[value] = arena.array(start, shape, value.dtype(self._dtype))
            start += windows[value].nbytes
            if value in self.windows:
                before = self.windows[value]
                windows[value][:, :, : before.shape[2]] = before
        # Nothing has changed up to here, where memory may run out.
        self._plans.clear()
        self.usual.clear()
        self._room, self._arena, self.windows = room, arena, windows

    def _new_plan(self, piece: Piece) -> PartPlan:
        # What comes later has at the least as much room, so that it is made once.
        for each in (piece, Piece(self.schedule.settled, piece.ticks, False, piece.rows)):
            before, after = self.schedule.after(each.place), after_piece(self.schedule, each)
            self.reserve({v: after.known[v] - before.kept[v] for v in self._room})
        plan = PartPlan(self.schedule, piece, self.windows, self._whole, self.states)
        self._plans[piece] = plan
        if piece.rows == (0, self._batch) and not piece.ends:
            self.usual[piece.place, piece.ticks] = plan
        if len(self._plans) > _PLANS:
            oldest, its = self._plans.popitem(last=False)
            if self.usual.get((oldest.place, oldest.ticks)) is its:
                del self.usual[oldest.place, oldest.ticks]
        return plan
