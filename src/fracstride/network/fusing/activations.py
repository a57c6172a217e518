"""A leaky ReLU or ReLU goes into the convolutions that read it: they bend what they pack."""

from __future__ import annotations

from dataclasses import replace

from fracstride.network.convolution import ConvolutionOperation
from fracstride.network.graph import Graph
from fracstride.network.operations.functions import ReLU
from fracstride.network.operations.leaky_relu import LeakyReLU

__all__ = ["fuse_activations"]


def fuse_activations(graph: Graph) -> Graph:
    """Fuse each leaky ReLU into the convolutions that read it; others read it as before."""
    writers = graph.writers()
    for node in graph.nodes:
        conv = node.operation
        if not isinstance(conv, ConvolutionOperation) or conv.negative_slope != 1:
            continue
        before = writers.get(node.inputs[0])
        if before is None or _one_channel(conv):
            continue
        slope = _slope(before.operation)
        if slope is not None and 0 <= slope < 1:
            node.operation = replace(conv, negative_slope=slope)
            node.inputs = (before.inputs[0], *node.inputs[1:])
    return graph.without_unused()


def _slope(operation: object) -> float | None:
    if isinstance(operation, LeakyReLU):
        return operation.negative_slope
    return 0.0 if isinstance(operation, ReLU) else None


def _one_channel(conv: ConvolutionOperation) -> bool:
    """Whether its kernel reads the signal where it lies, and would need a copy to bend it."""
    return conv.layer.groups == conv.layer.in_channels == conv.layer.out_channels
