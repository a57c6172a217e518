"""A leaky ReLU goes into the convolutions that read it: they bend what they pack."""

from __future__ import annotations

from dataclasses import replace

from fracstride.network.convolution import ConvolutionOperation
from fracstride.network.graph import Graph
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
        # (A ReLU is none with slope 0, which makes NaN of minus infinity.)
        if isinstance(before.operation, LeakyReLU) and 0 <= before.operation.negative_slope < 1:
            node.operation = replace(conv, negative_slope=before.operation.negative_slope)
            node.inputs = (before.inputs[0], *node.inputs[1:])
    return graph.without_unused()


def _one_channel(conv: ConvolutionOperation) -> bool:
    """Whether its kernel reads the signal where it lies, and would need a copy to bend it."""
    return conv.layer.groups == conv.layer.in_channels == conv.layer.out_channels
