"""The steps of a network for one length and batch: everything that does not depend on numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fracstride.arrays import DType
from fracstride.network.codes import naming
from fracstride.network.foreign import Foreign
from fracstride.network.graph import Graph, Node
from fracstride.network.memory import Arena, Slots
from fracstride.network.steps import Steps
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
        #: What runs.
        self.steps = Steps()
        for node in graph.nodes:
            self._add(node)
        #: Arrays that the inputs are written to; None of a foreign one.
        self.inputs = [self._values.get(value) for value in graph.inputs]

    def _add(self, node: Node) -> None:
        operation, values = node.operation, self._values
        if isinstance(operation, Foreign):
            self.steps.add(self._foreign(operation, node))
            return
        inputs = [values[value] for value in node.inputs]
        if operation.is_view:
            length = node.output.extent(self.clock)
            shown = operation.view(inputs[0], length)
            if shown.shape[1:] != (node.output.channels, length):
                raise ValueError(f"{operation.name} has too short an input at {self.clock} ticks")
            values[node.output] = shown
        else:
            step = operation.bind(inputs, values[node.output])
            self.steps.add(naming(step, node.where) if node.reads_codes else step)

    def _foreign(self, operation: Foreign, node: Node) -> Callable[[], object]:
        # (Not this plan: what a step holds, the collector of cycles does not see.)
        values, clock, batch = self._values, self.clock, self.batch

        def call() -> None:
            given = [values[value] for value in node.inputs]
            results = operation.call(given, clock, batch)
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
        self.steps.run()
        return [self._values[value] for value in self._graph.outputs]
