"""Where the values of a network lie: in slots of one arena.

A value needs memory from the node that writes it to the last one that reads it, or reads a view of
it. Values whose times do not overlap share a slot. Which value is in which slot is planned once;
the sizes of the slots follow from the length of each run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fracstride.arrays import Array, DType
from fracstride.network.graph import Graph, Node
from fracstride.network.value import Value

__all__ = ["Arena", "Slots", "plan_slots"]

_LINE = 64
# Slots begin at different places of a page: values that are read together would otherwise compete
# for the same sets of the cache.
_SHIFT = 17 * _LINE


@dataclass(frozen=True)
class Slots:
    """The slot of each value that has memory of its own."""

    slot: Mapping[Value, int]
    count: int

    def layout(self, sizes: Mapping[Value, int]) -> tuple[list[int], int]:
        """Where each slot begins, in bytes, and where the last one ends, for values so large."""
        most = [0] * self.count
        for value, slot in self.slot.items():
            most[slot] = max(most[slot], sizes[value])
        starts, end = [], 0
        for size in most:
            starts.append(end)
            end += -(-size // _LINE) * _LINE + _SHIFT
        return starts, end


@dataclass
class _Plan:
    sizes: Mapping[Value, int]
    slot: dict[Value, int] = field(default_factory=dict)
    free: list[int] = field(default_factory=list)
    capacity: list[int] = field(default_factory=list)

    def place(self, value: Value, over: list[Value]) -> None:
        """Give a value the free slot that fits best, or that of one of these."""
        size = self.sizes[value]
        for other in over:
            if other in self.slot and self.slot[other] in self.free:
                place = self.slot[other]
                break
        else:
            enough = [s for s in self.free if self.capacity[s] >= size]
            if enough:
                place = min(enough, key=lambda s: self.capacity[s])
            elif self.free:
                place = max(self.free, key=lambda s: self.capacity[s])
            else:
                place = len(self.capacity)
                self.capacity.append(0)
                self.free.append(place)
        self.free.remove(place)
        self.capacity[place] = max(self.capacity[place], size)
        self.slot[value] = place


def plan_slots(graph: Graph, sizes: Mapping[Value, int]) -> Slots:
    """Plan the slots; ``sizes`` are those of the values in a typical run."""
    owner = _owners(graph)
    last: dict[Value, int] = {}
    for index, node in enumerate(graph.nodes):
        for value in node.inputs:
            last[owner.get(value, value)] = index
        for value in node.outputs:
            last.setdefault(owner[value], index)
    for value in graph.outputs:
        last[owner.get(value, value)] = len(graph.nodes)
    plan = _Plan(sizes)
    for value in graph.inputs:
        if value.is_signal:
            plan.place(value, [])
    for index, node in enumerate(graph.nodes):
        ending = {owner.get(v, v) for v in node.inputs if last.get(owner.get(v, v)) == index}
        over = [v for v in node.inputs if _may_cover(node, v, owner)]
        early = [plan.slot[v] for v in ending if v in over and v in plan.slot]
        plan.free += [slot for slot in early if slot not in plan.free]
        for value in node.outputs:
            if value.is_signal and owner[value] is value:
                plan.place(value, over)
        used = {plan.slot[v] for v in node.outputs if v in plan.slot}
        plan.free = [slot for slot in plan.free if slot not in used]
        ending |= {v for v in node.outputs if last[owner[v]] == index and owner[v] is v}
        plan.free += [
            plan.slot[v]
            for v in ending
            if v in plan.slot and plan.slot[v] not in plan.free and plan.slot[v] not in used
        ]
    return Slots(plan.slot, len(plan.capacity))


def _owners(graph: Graph) -> dict[Value, Value]:
    """For each value, the one whose memory it lies in: itself, unless it is a view."""
    owner = {value: value for value in graph.inputs}
    for node in graph.nodes:
        for value in node.outputs:
            source = node.inputs[0] if node.operation.is_view else value
            owner[value] = owner.get(source, source)
    return owner


def _may_cover(node: Node, value: Value, owner: Mapping[Value, Value]) -> bool:
    """Whether a node may write its result over this input, of which no other input is a view."""
    return (
        owner.get(value) is value
        and all(other is value or owner.get(other) is not value for other in node.inputs)
        and node.operation.in_place
        and len(node.outputs) == 1
        and value.is_signal
        and value.shape == node.output.shape
    )


class Arena:
    """Memory that grows and is kept."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)
        self.base = 0

    @property
    def size(self) -> int:
        """In bytes."""
        return self._memory.size

    def reserve(self, size: int) -> bool:
        """Have so many bytes. Returns whether the memory is another one than before."""
        if size <= self._memory.size:
            return False
        self._memory = np.empty(0, np.uint8)  # the old memory goes before the new one comes
        self._memory = np.empty(size + _LINE, np.uint8)
        self.base = -self._memory.ctypes.data % _LINE
        return True

    def array(self, start: int, shape: tuple[int, ...], dtype: DType) -> Array:
        """The array of this shape that begins at a byte."""
        array: Array = np.ndarray(shape, dtype, self._memory, self.base + start)
        return array
