"""The steps of a push: everything about it that does not depend on numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from fracstride.arrays import Array
from fracstride.network.codes import naming
from fracstride.network.graph import Node
from fracstride.network.part import Part
from fracstride.network.steps import Push, Steps, move_rows
from fracstride.network.streaming.schedule import Progress, Schedule, has_time
from fracstride.network.value import Value

__all__ = ["PartPlan", "Piece"]


class Piece(NamedTuple):
    """A piece of a signal for some rows of the batch that are at the same place.

    Args:
        place: ticks before it (:meth:`Schedule.place`).
        ticks: in it.
        ends: whether the signal ends behind it.
        rows: the first of the rows, and the one behind the last.
    """

    place: int
    ticks: int
    ends: bool
    rows: tuple[int, int]


class PartPlan:
    """Steps that are bound to windows of memory.

    A window has the positions of a signal that were kept, and those that are new behind them. When
    the last operation has read it, what is kept from now on moves to its beginning.

    Args:
        schedule: of the network.
        piece: what is computed.
        windows: memory of each value with time, but views, for all rows and enough positions.
        whole: values without time.
        states: of operations, for all rows.
    """

    def __init__(
        self,
        schedule: Schedule,
        piece: Piece,
        windows: Mapping[Value, Array],
        whole: Mapping[Value, Array],
        states: Mapping[Node, Array],
    ) -> None:
        graph, rows = schedule.graph, slice(*piece.rows)
        before, after = schedule.after(piece.place), after_piece(schedule, piece)
        self._parts: dict[Value, Part] = {
            value: Part(array[rows], None) for value, array in whole.items()
        }
        moves: dict[Value, Callable[[], object]] = {}
        for value, array in windows.items():
            first, stop = before.kept[value], after.known[value]
            window = array[rows, :, : stop - first]
            self._parts[value] = Part(window, first, piece.ends)
            keep = stop - after.kept[value]
            if keep and after.kept[value] > first:
                moves[value] = move_rows(window[:, :, :keep], window[:, :, -keep:])
        #: What runs; and what runs after the outputs are copied.
        self.steps, self._after = Steps(), Steps()
        #: Which of the steps move what is kept.
        self.moving: list[int] = []
        # Codes first: one that no table has is found before anything else is done.
        nodes = sorted(schedule.nodes, key=lambda node: not node.reads_codes)
        last_read = _last_read(schedule, nodes)
        for node in nodes:
            self._add(node, before, after, states.get(node), rows)
            # What is kept moves while it is still in a cache.
            for value in last_read.get(node, ()):
                if value in moves:
                    self.moving.append(len(self.steps))
                    self.steps.add(moves.pop(value))
        for move in moves.values():
            self._after.add(move)
        inputs = [
            self._new(value, before, after).array for value in graph.inputs if has_time(value)
        ]
        outputs = [
            self._parts[value].between(first, stop)
            for value, first, stop in zip(graph.outputs, before.given, after.given, strict=True)
        ]
        #: Shape and dtype of each result.
        self.results = [(array.shape, array.dtype) for array in outputs]
        self._inputs = inputs
        #: Computes from new positions of the inputs the positions that are given now.
        self.push = Push(self.steps, self._after, inputs, outputs)

    def _new(self, value: Value, before: Progress, after: Progress) -> Part:
        """The positions that are new."""
        part, first = self._parts[value], before.known[value]
        return Part(part.between(first, after.known[value]), first, part.ends)

    def _add(
        self, node: Node, before: Progress, after: Progress, state: Array | None, rows: slice
    ) -> None:
        operation, value = node.operation, node.output
        if operation.is_view:
            part = operation.view_part(self._parts[node.inputs[0]])
            stop = after.known[value]
            shown = part.array[:, :, : max(stop - part.start, 0)]
            self._parts[value] = Part(shown, part.first, part.ends)
            return
        out = self._new(value, before, after)
        if out.array.shape[2]:
            own = None if state is None else state[..., rows, :]
            parts = [self._parts[v] for v in node.inputs]
            step = operation.bind_part(parts, out, own)
            self.steps.add(naming(step, node.where) if node.reads_codes else step)

    def run(self, inputs: Sequence[Array], outs: Sequence[Array]) -> None:
        """Compute from new positions of the inputs what is given now."""
        # Codes come in integers of any size.
        signals = [x.astype(a.dtype, copy=False) for a, x in zip(self._inputs, inputs, strict=True)]
        if not self.push.run(signals, outs):
            shapes = [x.shape for x in (*signals, *outs)]
            raise ValueError(f"inputs and outputs {shapes} do not fit to the steps")


def _last_read(schedule: Schedule, nodes: Sequence[Node]) -> dict[Node, list[Value]]:
    """The values in memory that nothing reads after a node: neither another one nor the caller.

    (Not codes: where one is refused, nothing may have moved.)
    """
    reader: dict[Value, Node] = {}
    for node in nodes:
        if not node.operation.is_view:
            reader |= {schedule.owner(value): node for value in node.inputs}
    for value in schedule.graph.outputs:
        reader.pop(schedule.owner(value), None)
    values: dict[Node, list[Value]] = {}
    for value, node in reader.items():
        if not value.is_codes:
            values.setdefault(node, []).append(value)
    return values


def after_piece(schedule: Schedule, piece: Piece) -> Progress:
    """Progress after a piece; at the end, everything is known and nothing is kept."""
    ticks = piece.place + piece.ticks
    if not piece.ends:
        return schedule.after(ticks)
    known = schedule.lengths(ticks)
    before = schedule.after(piece.place)
    kept = {value: known[value] for value in before.kept}
    return Progress(known, kept, tuple(known[value] for value in schedule.graph.outputs))
