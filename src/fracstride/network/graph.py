"""The graph of a network: its values, and the operations between them.

A *node* is one use of an operation. The graph is checked as it is built: an operation that does not
fit its inputs raises when it is added.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from fracstride.network.extent import Extent
from fracstride.network.operation import Operation
from fracstride.network.value import Shape, Value

__all__ = ["Graph", "Node"]


@dataclass(eq=False)
class Node:
    """One use of an operation."""

    operation: Operation
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    #: Of the module in the model that it comes from, or empty.
    path: str = ""

    @property
    def where(self) -> str:
        """In messages: ``"decoder.0 (Embedding)"``."""
        name = self.operation.name
        return f"{self.path} ({name})" if self.path else name

    @property
    def reads_codes(self) -> bool:
        """Whether all its inputs are codes."""
        return bool(self.inputs) and all(value.is_codes for value in self.inputs)

    @property
    def output(self) -> Value:
        """The only output."""
        (value,) = self.outputs
        return value


@dataclass(eq=False)
class Graph:
    """Nodes in an order in which they can run.

    >>> from fracstride.network.operations.leaky_relu import LeakyReLU
    >>> graph = Graph()
    >>> x = graph.add_input("x", channels=2)
    >>> graph.outputs.append(graph.add(LeakyReLU(0.1), x))
    >>> [node.operation.name for node in graph.nodes]
    ['LeakyReLU']
    """

    inputs: list[Value] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)

    def add_input(
        self, name: str, channels: int, extent: Extent | None = None, *, codes: bool = False
    ) -> Value:
        """A signal that the caller gives; of ``T`` positions, unless an extent says otherwise."""
        value = Value(name, Shape(channels, extent or Extent.affine(1), codes))
        self.inputs.append(value)
        return value

    def add(self, operation: Operation, *inputs: Value, path: str = "", name: str = "") -> Value:
        """Use an operation with one result on these values, and return the result.

        Raises:
            ValueError: the inputs do not fit; the message begins with ``path``.
        """
        try:
            if any(value.is_codes for value in inputs) and not operation.takes_codes:
                raise ValueError(f"{operation.name} takes signals of floats, got codes")
            shape = operation.result(*inputs)
        except ValueError as error:
            raise ValueError(f"{path}: {error}" if path else str(error)) from None
        value = Value(name, shape)
        self.nodes.append(Node(operation, inputs, (value,), path))
        return value

    def add_foreign(
        self,
        operation: Operation,
        inputs: Sequence[Value],
        shapes: Iterable[Shape | None],
        path: str = "",
    ) -> tuple[Value, ...]:
        """Use an operation of another library, with results of these shapes."""
        outputs = tuple(Value("", shape) for shape in shapes)
        self.nodes.append(Node(operation, tuple(inputs), outputs, path))
        return outputs

    def readers(self) -> dict[Value, list[Node | None]]:
        """Which nodes read each value; None for a reader outside."""
        readers: dict[Value, list[Node | None]] = {}
        for node in self.nodes:
            for value in node.inputs:
                readers.setdefault(value, []).append(node)
        for value in self.outputs:
            readers.setdefault(value, []).append(None)
        return readers

    def writers(self) -> dict[Value, Node]:
        """Which node gives each value."""
        return {value: node for node in self.nodes for value in node.outputs}

    def values(self) -> Iterator[Value]:
        """The signals and foreign values, inputs first."""
        yield from self.inputs
        for node in self.nodes:
            yield from node.outputs

    def without_unused(self) -> Graph:
        """The same without nodes that no output depends on."""
        needed, kept = set(self.outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                needed.update(node.inputs)
                kept.append(node)
        return Graph(list(self.inputs), kept[::-1], list(self.outputs))
