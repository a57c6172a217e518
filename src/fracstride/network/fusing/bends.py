"""A choice between a signal and a multiple of it, by its sign, is a leaky ReLU.

torch's exporter of today writes PReLU so.
"""

from __future__ import annotations

from fracstride.network.graph import Graph, Node
from fracstride.network.operations.arithmetic import Multiply
from fracstride.network.operations.choices import Greater, GreaterOrEqual, Where
from fracstride.network.operations.leaky_relu import LeakyReLU, PReLU
from fracstride.network.value import Value

__all__ = ["find_bends"]


def find_bends(graph: Graph) -> Graph:
    """Write ``where(x > 0, x, slope*x)`` as a leaky ReLU, or as a PReLU."""
    writers = graph.writers()
    for node in graph.nodes:
        found = _slope(node, writers) if isinstance(node.operation, Where) else None
        if found is None:
            continue
        x, slope = found
        if slope.constant is not None and slope.constant.size == 1:
            node.operation, node.inputs = LeakyReLU(float(slope.constant[0])), (x,)
        else:
            node.operation, node.inputs = PReLU(), (x, slope)
    return graph.without_unused()


def _slope(node: Node, writers: dict[Value, Node]) -> tuple[Value, Value] | None:
    """The signal, and its slope where it is negative."""
    condition, x, other = node.inputs
    compared, scaled = writers.get(condition), writers.get(other)
    if compared is None or scaled is None or x.shape != node.output.shape:
        return None
    if not isinstance(compared.operation, (Greater, GreaterOrEqual)):
        return None
    if not isinstance(scaled.operation, Multiply) or x not in scaled.inputs:
        return None
    signal, bound = compared.inputs
    if signal is not x or bound.constant is None or bound.constant.any():
        return None
    slope = scaled.inputs[1] if scaled.inputs[0] is x else scaled.inputs[0]
    return (x, slope) if slope is not x else None
