"""Elementwise operations in a row become one program, which passes over memory once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from fracstride.arrays import DType
from fracstride.network.elementwise import Elementwise, Fused, program_of
from fracstride.network.graph import Graph, Node
from fracstride.network.pointwise import Operand, Register
from fracstride.network.value import Value

__all__ = ["fuse_chains"]


def fuse_chains(graph: Graph, dtype: DType, *, everything: bool) -> Graph:
    """Make a program of each elementwise operation, or of each chain of them.

    A chain ends in a value that another operation reads, or more than one, and where it would be
    too long for a program.
    """
    readers, writers = graph.readers(), graph.writers()
    nodes: list[Node] = []
    # By its last node, each chain that its only reader goes on with.
    waiting: dict[Node, list[Node]] = {}
    for node in graph.nodes:
        if not isinstance(node.operation, Elementwise):
            nodes.append(node)
            continue
        before = dict.fromkeys(writers[value] for value in node.inputs if value in writers)
        parts = [waiting.pop(writer) for writer in before if writer in waiting]
        while not _fits(members := [*chain.from_iterable(parts), node]):
            longest = max(parts, key=len)
            parts.remove(longest)
            nodes.append(_program(longest, dtype))
        if everything and _goes_on(node, readers):
            waiting[node] = members
        else:
            nodes.append(_program(members, dtype))
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


_Steps = list[tuple[Elementwise, tuple[Operand, ...]]]


def _steps(members: Sequence[Node]) -> tuple[_Steps, list[Value]]:
    """What a program of these computes, and the signals that it reads."""
    inner = {member.output: index for index, member in enumerate(members)}
    signals: list[Value] = []
    for member in members:
        for value in member.inputs:
            if value.is_signal and value not in inner and value not in signals:
                signals.append(value)
    steps: _Steps = []
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
    return steps, signals


def _fits(members: Sequence[Node]) -> bool:
    steps, signals = _steps(members)
    return len(members) == 1 or program_of(steps, len(signals)).fits


def _program(members: Sequence[Node], dtype: DType) -> Node:
    """One node for all of these."""
    steps, signals = _steps(members)
    last = members[-1]
    return Node(Fused(steps, len(signals), dtype), tuple(signals), last.outputs, last.path)
