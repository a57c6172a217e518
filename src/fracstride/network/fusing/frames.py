"""Frames as channels go into the linear layer next to them.

A linear layer whose results are the samples of frames, which are then added up, is one transposed
convolution; one of the samples of frames is one convolution. Inverse and forward Fourier transforms
written by hand are such layers.
"""

from __future__ import annotations

import numpy as np

from fracstride.arrays import Array
from fracstride.network.convolution import ConvolutionOperation
from fracstride.network.graph import Graph, Node
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.conv_transpose1d import ConvTranspose1d

__all__ = ["fuse_frames"]


def fuse_frames(graph: Graph) -> Graph:
    """Make one convolution of each linear layer and the frames that only it makes or reads."""
    readers, writers = graph.readers(), graph.writers()
    for node in graph.nodes:
        before = writers.get(node.inputs[0]) if node.inputs else None
        if before is None or readers[node.inputs[0]] != [node]:
            continue
        joined = _joined(before, node)
        if joined is not None:
            node.operation, node.inputs = joined, before.inputs
            node.path = node.path or before.path
    return graph.without_unused()


def _joined(before: Node, node: Node) -> ConvolutionOperation | None:
    first, second = before.operation, node.operation
    if len(before.inputs) > 1 or len(node.inputs) > 1 or not isinstance(first, Conv1d):
        return None
    if isinstance(second, ConvTranspose1d):
        if _is_linear(first) and first.layer.bias is None and _is_frames(second):
            taps, channels = second.layer.geometry.kernel_size, second.layer.out_channels
            rows = first.layer.weight.reshape(channels, taps, -1)
            return _with_weight(second, rows.transpose(2, 0, 1), first)
    elif isinstance(second, Conv1d) and _is_linear(second) and _is_frames(first):
        taps, channels = first.layer.geometry.kernel_size, first.layer.in_channels
        rows = second.layer.weight.reshape(-1, channels, taps)
        return _with_weight(first, rows, second)
    return None


def _with_weight(
    frames: ConvolutionOperation, weight: Array, linear: ConvolutionOperation
) -> ConvolutionOperation:
    bias = linear.layer.bias
    return frames.with_layer(weight=np.ascontiguousarray(weight), bias=bias, groups=1)


def _is_linear(operation: ConvolutionOperation) -> bool:
    g = operation.layer.geometry
    return (
        g.kernel_size == g.stride == operation.layer.groups == 1
        and g.padding_left == g.padding_right == 0
        and operation.negative_slope == 1
    )


def _is_frames(operation: ConvolutionOperation) -> bool:
    """Whether each channel is one sample of a frame, of signals that are apart."""
    layer, taps = operation.layer, operation.layer.geometry.kernel_size
    signals = layer.in_channels if isinstance(operation, Conv1d) else layer.out_channels
    return bool(
        layer.bias is None
        and operation.negative_slope == 1
        and layer.groups == signals
        and layer.weight.shape[0] == signals * taps
        and (layer.weight.reshape(signals, taps, taps) == np.eye(taps)).all()
    )
