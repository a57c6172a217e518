"""A sum with the result of a convolution goes into it: the kernel adds as it stores."""

from __future__ import annotations

from fracstride.network.convolution import ConvolutionOperation
from fracstride.network.graph import Graph, Node
from fracstride.network.operations.arithmetic import Add
from fracstride.network.value import Value

__all__ = ["fuse_residuals"]


def fuse_residuals(graph: Graph) -> Graph:
    """Move each convolution whose result only a sum reads into the place of that sum."""
    readers, writers = graph.readers(), graph.writers()
    place = {node: index for index, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        if not isinstance(node.operation, Add) or any(not v.is_signal for v in node.inputs):
            continue
        found: list[tuple[int, Node, Value]] = []
        for mine, other in (node.inputs, node.inputs[::-1]):
            conv = writers.get(mine)
            if conv is not None and mine is not other and _can_add(conv, node, other, readers):
                found.append((place[conv], conv, other))
        if not found:
            continue
        # The later of two convolutions: what is between it and the sum stays where it is.
        _, conv, other = max(found, key=lambda each: each[0])
        node.operation, node.inputs = conv.operation, (conv.inputs[0], other)
        node.path = conv.path
    return graph.without_unused()


def _can_add(conv: Node, node: Node, other: Value, readers: dict[Value, list[Node | None]]) -> bool:
    operation = conv.operation
    if not isinstance(operation, ConvolutionOperation) or len(conv.inputs) > 1:
        return False
    layer = operation.layer
    depthwise = layer.groups == layer.in_channels == layer.out_channels
    if depthwise and layer.geometry.is_transposed:
        return False  # its own kernel is faster than the one that adds
    return readers[conv.output] == [node] and other.shape == node.output.shape == conv.output.shape
