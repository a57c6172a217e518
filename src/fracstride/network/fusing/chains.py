"""Elementwise operations in a row become one program, which passes over memory once."""

from __future__ import annotations

from collections.abc import Sequence

from fracstride.arrays import DType
from fracstride.network.elementwise import Elementwise, Fused
from fracstride.network.graph import Graph, Node
from fracstride.network.pointwise import Operand, Register
from fracstride.network.value import Value

__all__ = ["fuse_chains"]

_MOST_INPUTS = 6


def fuse_chains(graph: Graph, dtype: DType, *, everything: bool) -> Graph:
    """Make a program of each elementwise operation, or of each chain of them.

    A chain ends in a value that another operation reads, or more than one.
    """
    readers, writers = graph.readers(), graph.writers()
    nodes: list[Node] = []
    for node in graph.nodes:
        if not isinstance(node.operation, Elementwise):
            nodes.append(node)
            continue
        if everything and _goes_on(node, readers):
            continue
        members = [node]
        if everything:
            members = _members(node, readers, writers)
        nodes.append(_program(members, node, dtype))
    return Graph(graph.inputs, nodes, graph.outputs).without_unused()


def _goes_on(node: Node, readers: dict[Value, list[Node | None]]) -> bool:
    """Whether the only reader is elementwise and of the same shape: the node becomes part of it."""
    following = set(readers.get(node.output, ()))
    if len(following) != 1:
        return False
    (reader,) = following
    return (
        reader is not None
        and isinstance(reader.operation, Elementwise)
        and reader.output.shape == node.output.shape
    )


def _members(
    node: Node, readers: dict[Value, list[Node | None]], writers: dict[Value, Node]
) -> list[Node]:
    """The nodes that end in this one, in their order."""
    members: list[Node] = []

    def collect(current: Node) -> None:
        for value in current.inputs:
            before = writers.get(value)
            if before is None or before in members or not isinstance(before.operation, Elementwise):
                continue
            if _goes_on(before, readers):
                collect(before)
        members.append(current)

    collect(node)
    return members


def _program(members: Sequence[Node], node: Node, dtype: DType) -> Node:
    """One node for all of these; ``node`` is the last."""
    inner = {member.output: index for index, member in enumerate(members)}
    signals: list[Value] = []
    for member in members:
        for value in member.inputs:
            if value.is_signal and value not in inner and value not in signals:
                signals.append(value)
    steps: list[tuple[Elementwise, tuple[Operand, ...]]] = []
    for member in members:
        operands: list[Operand] = []
        for value in member.inputs:
            if value in inner:
                operands.append(Register(len(signals) + inner[value]))
            elif value.constant is None:
                operands.append(Register(signals.index(value)))
            elif value.constant.size == 1:
                operands.append(float(value.constant[0]))
            else:
                operands.append(value.constant)
        assert isinstance(member.operation, Elementwise)
        steps.append((member.operation, tuple(operands)))
    # (Signals of constants alone do not come here: constants are folded when a graph is read.)
    return Node(Fused(steps, len(signals), dtype), tuple(signals), node.outputs, node.path)
