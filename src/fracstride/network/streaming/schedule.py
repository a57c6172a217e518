"""When the positions of a network's signals are final, and how long they are needed.

After ``T`` ticks, the first positions of each signal are *known*: no later input changes them, and
an input that ends now, or at any later time, has them. What a later part of the signal still reads
of them is *kept*. Both follow from the graph, one operation after the other, and are worked out
once for each remainder of ``T`` by some period: see :meth:`Schedule.place`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from math import lcm

from fracstride.arguments import MAX_SIZE
from fracstride.network.extent import LONGEST_PERIOD, Extent
from fracstride.network.graph import Graph, Node
from fracstride.network.part import FOREVER
from fracstride.network.table import aligned
from fracstride.network.value import Value
from fracstride.streaming.rows import least_from_which
from fracstride.streaming.staircase import Staircase

__all__ = ["Progress", "Schedule", "has_time"]

_HEAD = ("operation", "in the model", "rate", "late by", "keeps", "channels")
_LONGEST = 1 << 14  # frames of a period that are looked at for a staircase
_REMEMBERED = 512  # numbers of ticks whose progress is kept


@dataclass(frozen=True)
class Progress:
    """The signals of a network after some ticks.

    Args:
        known: of each value with time, how many of its first positions are final.
        kept: of each value that has memory of its own, the first position that is needed later.
        given: of each output, how many positions are out.
    """

    known: dict[Value, int]
    kept: dict[Value, int]
    given: tuple[int, ...]


class Schedule:
    """The schedule of a network's stream.

    Args:
        graph: the one that runs.
        least: ticks that an input has to last.

    >>> import fracstride as fs
    >>> from fracstride.network.operations.conv1d import Conv1d
    >>> graph = Graph()
    >>> x = graph.add_input("x", channels=1)
    >>> layer = fs.Conv1d(1, 1, kernel_size=5, padding=2)
    >>> graph.outputs.append(graph.add(Conv1d(layer), x))
    >>> schedule = Schedule(graph, least=1)
    >>> schedule.after(10).given, schedule.after(10).kept[x], schedule.settled
    ((8,), 6, 5)
    """

    def __init__(self, graph: Graph, least: int) -> None:
        self.graph, self.least = graph, least
        #: Operations that run at each push; the others have no time, and run once.
        self.nodes = [node for node in graph.nodes if has_time(node.output)]
        #: Of a view, the value in whose memory it lies, and the operations that lead to it.
        self.views = _views(self.nodes)
        self._ends = {
            value: _least_from_then_on(value.extent)
            for value in graph.values()
            if value.is_signal and has_time(value)
        }
        #: Progress depends on the ticks by their remainder of this alone, once it is settled.
        self.period = _period(graph, self.nodes)
        self.after = lru_cache(maxsize=_REMEMBERED)(self._after)
        self.settled = self._settled_after()

    def place(self, ticks: int) -> int:
        """A small number of ticks whose progress differs from that after ``ticks`` by a shift."""
        over = ticks - self.settled
        return ticks if over <= 0 else self.settled + over % self.period

    def lengths(self, ticks: int) -> dict[Value, int]:
        """How long each value with time is, if the signal ends after so many ticks."""
        return {value: max(0, value.extent(ticks)) for value in self._ends}

    def output_length(self, output: int, ticks: int) -> int:
        """How many positions of an output are out after so many ticks."""
        place = self.place(ticks)
        rate = self.graph.outputs[output].rate
        return self.after(place).given[output] + int((ticks - place) * rate)

    def length_at_end(self, output: int, ticks: int) -> int:
        """How long an output is after so many ticks; 0 where the network refuses the input."""
        return max(0, self.graph.outputs[output].extent(ticks)) if ticks >= self.least else 0

    @cached_property
    def latencies(self) -> tuple[Fraction, ...]:
        """The most by which each output, once it has begun, is behind its rate, in positions."""
        rates = [value.rate for value in self.graph.outputs]
        most = [Fraction(-MAX_SIZE)] * len(rates)
        for t in range(self.settled, self.settled + self.period):
            given = self.after(t).given
            most = [max(m, r * t - g) for m, r, g in zip(most, rates, given, strict=True)]
        return tuple(most)

    def staircase(
        self, length: Callable[[int], int], per_tick: int, rate: Fraction
    ) -> Staircase | None:
        """The staircase of one step that a function of frames is in the long run, if it is one.

        A network goes down and up in rate; then it may be none.
        """
        p, q, period = rate.numerator, rate.denominator, self.period * per_tick
        if period > _LONGEST:
            return None
        far = (self.settled // self.period + 2) * period
        asked = [(x, length(x)) for x in range(far, far + period)]
        found = Staircase.of(p, q - 1 - max(p * x - q * y for x, y in asked), q)
        return found if all(found(x) == y for x, y in asked) else None

    @property
    def summary(self) -> str:
        """The latency, in words."""
        parts = []
        for number, value in enumerate(self.graph.outputs):
            late = max(Fraction(0), self.latencies[number])
            name = f"output {number}" if len(self.graph.outputs) > 1 else "the output"
            parts.append(f"{name} is {float(late / value.rate):.6g} ticks late")
        return f"streams: {', '.join(parts)}"

    def __str__(self) -> str:
        """A line for each operation: by how many positions it is late, and how many it keeps.

        (The most, once no edge of the signal waits any more. Operations that are fused are one.)
        """
        names = {value: ("input", value.name) for value in self.graph.inputs if has_time(value)}
        names |= {n.output: (n.operation.name, n.path) for n in self.nodes}
        late, keeps = dict.fromkeys(names, Fraction(-MAX_SIZE)), dict.fromkeys(names, 0)
        for t in range(self.settled, self.settled + self.period):
            now = self.after(t)
            for value in names:
                late[value] = max(late[value], value.rate * t - now.known[value])
                kept = now.known[value] - now.kept.get(value, now.known[value])
                keeps[value] = max(keeps[value], kept)
        rows: list[tuple[str, ...]] = [_HEAD]
        for value, (operation, path) in names.items():
            numbers = (f"{float(late[value]):.6g}", str(keeps[value]), str(value.channels))
            rows.append((operation, path, str(value.rate), *numbers))
        return "\n".join([*aligned(rows, 2), self.summary])

    def _after(self, ticks: int) -> Progress:
        known = {
            value: int(value.rate) * ticks for value in self.graph.inputs if value in self._ends
        }
        for node in self.nodes:
            found = 0
            if ticks:
                of_inputs = [known.get(value, FOREVER) for value in node.inputs]
                found = node.operation.known(of_inputs, node.inputs)
            value = node.output
            ends = self._ends[value](max(ticks, self.least))
            known[value] = max(0, min(found, ends))
        given = tuple(known[v] if ticks >= self.least else 0 for v in self.graph.outputs)
        return Progress(known, self._kept(known, given), given)

    def _kept(self, known: dict[Value, int], given: tuple[int, ...]) -> dict[Value, int]:
        kept = {value: known[value] for value in known if value not in self.views}

        def need(value: Value, position: int) -> None:
            owner, position = self._in_memory(value, position, known)
            kept[owner] = max(0, min(kept[owner], position))

        for value, position in zip(self.graph.outputs, given, strict=True):
            need(value, position)
        for node in self.nodes:
            if node.output in self.views:
                continue
            of_inputs = [known.get(value, FOREVER) for value in node.inputs]
            first = node.operation.needed(known[node.output], of_inputs, node.inputs)
            for value, position in zip(node.inputs, first, strict=True):
                if value in known:
                    need(value, position)
        return kept

    def owner(self, value: Value) -> Value:
        """The value in whose memory one lies: its own, unless it is a view."""
        return self.views[value][-1].inputs[0] if value in self.views else value

    def _in_memory(self, value: Value, position: int, known: dict[Value, int]) -> tuple[Value, int]:
        """The value in whose memory another one lies, and where a position of that is there."""
        for view in self.views.get(value, ()):
            (value,) = view.inputs
            (position,) = view.operation.needed(position, [known[value]], view.inputs)
        return value, position

    def _settled_after(self) -> int:
        """The least number of ticks from which on each tick, or period, does what the last did."""

        def settled(ticks: int) -> bool:
            now = self._after(ticks)
            if ticks < self.least or not all(now.known.values()) or not all(now.kept.values()):
                return False
            if any(now.known[node.output] < node.operation.edge for node in self.nodes):
                return False
            starts = [self._in_memory(view, 0, now.known) for view in self.views]
            return all(now.kept[value] >= start for value, start in starts)

        return least_from_which(settled)


def has_time(value: Value) -> bool:
    """Whether a value is a signal whose length grows."""
    return value.is_signal and value.rate > 0


def _views(nodes: list[Node]) -> dict[Value, tuple[Node, ...]]:
    """For each view, the nodes that lead from it back to memory."""
    views: dict[Value, tuple[Node, ...]] = {}
    for node in nodes:
        if node.operation.is_view:
            views[node.output] = (node, *views.get(node.inputs[0], ()))
    return views


@lru_cache(maxsize=1024)
def _least_from_then_on(extent: Extent) -> Extent:
    return extent.least_from_then_on()


def _period(graph: Graph, nodes: list[Node]) -> int:
    """Ticks after which every signal is a whole number of strides further."""
    period = lcm(*(value.extent.period for value in graph.values() if has_time(value)))
    for node in nodes:
        stride = node.operation.stride
        rates = [value.rate for value in node.inputs if has_time(value)]
        period = lcm(period, *((rate / stride).denominator for rate in rates))
    if period > LONGEST_PERIOD:
        raise ValueError(
            f"the network cannot stream: its strides repeat themselves only after {period} ticks, "
            f"and {LONGEST_PERIOD} are the most"
        )
    return period
