"""Operations of another library that a user says to be elementwise in time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction

from fracstride.arrays import Array
from fracstride.network.foreign import Foreign
from fracstride.network.graph import Graph, Node
from fracstride.network.operation import Operation
from fracstride.network.part import Part
from fracstride.network.value import Shape, Value

__all__ = ["declare"]


@dataclass(frozen=True, eq=False)
class Declared(Operation):
    """One result of an operation of another library, whose positions depend on theirs alone."""

    foreign: Foreign
    result_number: int
    shape: Shape

    @property
    def name(self) -> str:
        """Of the operation itself."""
        return self.foreign.name

    def result(self, *inputs: Value) -> Shape:
        """As the operation has it."""
        return self.shape

    def obstacle(self, *inputs: Value) -> str:
        """What keeps even an elementwise operation from running on parts."""
        if self.foreign.depends_on_length:
            return "is called with the length of the signal, which a stream does not know"
        if not all(value.is_signal for value in inputs):
            return "reads what is no signal, which cannot be cut into parts"
        if any(value.rate and value.extent != self.shape.extent for value in inputs):
            return "has another length than its input, and so is not elementwise in time"
        return ""

    def delay(self, *inputs: Value) -> Fraction | None:
        """None of its own."""
        return Fraction(0)

    def bind_part(
        self, inputs: Sequence[Part], out: Part, state: Array | None
    ) -> Callable[[], object]:
        """The operation itself, on parts."""
        arrays = [x.between(out.start, out.stop) for x in inputs]

        def run() -> None:
            results = self.foreign.call(arrays, 0, len(out.array))
            out.array[...] = results[self.result_number]

        return run


def declare(graph: Graph, paths: Collection[str]) -> Graph:
    """A graph in which foreign operations in modules with these paths are elementwise."""
    readers = graph.readers()
    nodes = []
    for node in graph.nodes:
        used = [n for n, value in enumerate(node.outputs) if readers.get(value)]
        inside = any(path in ("", node.path) or node.path.startswith(f"{path}.") for path in paths)
        if inside and isinstance(node.operation, Foreign) and len(used) == 1:
            value = node.outputs[used[0]]
            if value.is_signal and value.shape is not None:
                operation = Declared(node.operation, used[0], value.shape)
                node = Node(operation, node.inputs, (value,), node.path)
        nodes.append(node)
    return Graph(list(graph.inputs), nodes, list(graph.outputs))
