"""The steps of a network for one length and batch: everything that does not depend on numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fracstride.arrays import DType
from fracstride.network.codes import CodeError
from fracstride.network.foreign import Foreign
from fracstride.network.graph import Graph, Node
from fracstride.network.memory import Arena, Slots
from fracstride.network.value import Value

__all__ = ["Plan"]


class Plan:
    """Steps bound to arrays in an arena.

    Args:
        graph: what runs.
        slots: where its values lie.
        starts: where each slot begins in the arena.
        arena: which has the memory for this length, and keeps it while the plan is used.
        clock: ticks of the inputs.
        batch: entries.
        dtype: of the signals that are no codes.
    """

    def __init__(
        self,
        graph: Graph,
        slots: Slots,
        starts: Sequence[int],
        arena: Arena,
        clock: int,
        batch: int,
        dtype: DType,
    ) -> None:
        self.clock, self.batch, self._graph = clock, batch, graph
        self._values: dict[Value, Any] = {}
        for value, slot in slots.slot.items():
            shape = (batch, value.channels, value.extent(clock))
            self._values[value] = arena.array(starts[slot], shape, value.dtype(dtype))
        self._steps = [self._step(node) for node in graph.nodes]
        #: Arrays that the inputs are written to; None of a foreign one.
        self.inputs = [self._values.get(value) for value in graph.inputs]

    def _step(self, node: Node) -> Callable[[], object]:
        operation, values = node.operation, self._values
        if isinstance(operation, Foreign):
            return self._foreign(operation, node)
        inputs = [values[value] for value in node.inputs]
        if operation.is_view:
            length = node.output.extent(self.clock)
            shown = operation.view(inputs[0], length)
            if shown.shape[1:] != (node.output.channels, length):
                raise ValueError(f"{operation.name} has too short an input at {self.clock} ticks")
            values[node.output] = shown
            return _nothing
        return operation.bind(inputs, values[node.output])

    def _foreign(self, operation: Foreign, node: Node) -> Callable[[], object]:
        values = self._values

        def call() -> None:
            given = [values[value] for value in node.inputs]
            results = operation.call(given, self.clock, self.batch)
            for value, result in zip(node.outputs, results, strict=True):
                if value.is_signal:
                    values[value][...] = result
                else:
                    values[value] = result

        return call

    def run(self, foreign: dict[Value, Any]) -> list[Any]:
        """Run all steps and return the outputs, which lie in the arena.

        Raises:
            CodeError: an input holds a code that a table does not have.
        """
        self._values.update(foreign)
        for step, node in zip(self._steps, self._graph.nodes, strict=True):
            try:
                step()
            except CodeError as error:
                name = node.operation.name
                where = f"{node.path} ({name})" if node.path else name
                raise CodeError(f"{where}: {error}") from None
        return [self._values[value] for value in self._graph.outputs]


def _nothing() -> None:
    """What a view needs at each call."""
