"""Constant factors and BatchNorms go into the weight of the convolution next to them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fracstride.arrays import Array
from fracstride.network.convolution import ConvolutionOperation
from fracstride.network.graph import Graph, Node
from fracstride.network.operations.arithmetic import Add, Divide, Multiply, Subtract
from fracstride.network.operations.functions import ReLU
from fracstride.network.operations.leaky_relu import LeakyReLU
from fracstride.network.value import Value

__all__ = ["fold_factors"]


def fold_factors(graph: Graph) -> Graph:
    """Fold what multiplies or shifts each channel of a convolution's result, or of its input."""
    while _fold_one(graph):
        graph = graph.without_unused()
    return graph


def _fold_one(graph: Graph) -> bool:
    readers, writers = graph.readers(), graph.writers()
    for node in graph.nodes:
        change = _affine(node)
        if change is None:
            continue
        source, factor, shift = change
        before = writers.get(source)
        if (
            before is not None
            and isinstance(before.operation, ConvolutionOperation)
            and len(before.inputs) == 1
            and readers[source] == [node]
            and node.output.shape == before.output.shape
        ):
            node.operation = _scaled_result(before.operation, factor, shift)
            node.inputs, node.path = before.inputs, before.path
            return True
        if (
            shift is None
            and node.output.shape == source.shape
            and _fold_after(node, factor, readers)
        ):
            _replace(graph, node.output, source)
            return True
    return False


def _affine(node: Node) -> tuple[Value, Array, Array | None] | None:
    """A node as ``factor*source + shift``, each a number or one per channel."""
    if len(node.inputs) != 2:
        return None
    a, b = node.inputs
    one = np.ones(1)
    match node.operation:
        case Multiply() | Add() if a.constant is not None and b.is_signal:
            a, b = b, a
        case Multiply() | Add() | Subtract() | Divide():
            pass
        case _:
            return None
    if not a.is_signal or b.constant is None:
        return None
    number = b.constant.astype(np.float64)
    if not np.isfinite(number).all() or (isinstance(node.operation, Divide) and not number.all()):
        return None  # a sum of infinite products is not the infinite product of the sum
    match node.operation:
        case Multiply():
            return a, number, None
        case Divide():
            return a, 1 / number, None
        case Add():
            return a, one, number
    return a, one, -number


def _scaled_result(
    conv: ConvolutionOperation, factor: Array, shift: Array | None
) -> ConvolutionOperation:
    layer, out_channels = conv.layer, conv.layer.out_channels
    factors = np.broadcast_to(factor, out_channels)
    bias = np.zeros(out_channels) if layer.bias is None else layer.bias.astype(np.float64)
    bias = bias * factors + (0 if shift is None else shift)
    has_bias = shift is not None or layer.bias is not None
    return conv.with_layer(
        weight=_scaled(conv, factors, of_result=True),
        bias=bias.astype(layer.dtype) if has_bias else None,
    )


def _scaled(conv: ConvolutionOperation, factors: Array, *, of_result: bool) -> Array:
    """The weight with each channel of the result, or of the input, multiplied."""
    layer = conv.layer
    weight = layer.weight.astype(np.float64)
    by_group = factors.reshape(layer.groups, -1)
    first_is_result = not layer.geometry.is_transposed
    if of_result == first_is_result:
        scaled = weight * factors[:, None, None]
    else:
        rows = weight.reshape(layer.groups, -1, *weight.shape[1:])
        scaled = (rows * by_group[:, None, :, None]).reshape(weight.shape)
    return np.asarray(scaled.astype(layer.dtype))


def _fold_after(node: Node, factor: Array, readers: dict[Value, list[Node | None]]) -> bool:
    """Fold a factor into all convolutions that read the result, past functions it commutes with."""
    convolutions: list[Node] = []
    waiting: list[Any] = list(readers[node.output])
    while waiting:
        reader = waiting.pop()
        if reader is None:
            return False
        operation = reader.operation
        if isinstance(operation, ConvolutionOperation):
            if len(reader.inputs) > 1 and reader.inputs[1] is not reader.inputs[0]:
                return False
            convolutions.append(reader)
        elif isinstance(operation, (LeakyReLU, ReLU)) and (factor > 0).all():
            waiting += readers[reader.output]
        else:
            return False
    for reader in set(convolutions):
        conv = reader.operation
        assert isinstance(conv, ConvolutionOperation)
        factors = np.broadcast_to(factor, conv.layer.in_channels)
        reader.operation = conv.with_layer(weight=_scaled(conv, factors, of_result=False))
    return bool(convolutions)


def _replace(graph: Graph, old: Value, new: Value) -> None:
    for node in graph.nodes:
        node.inputs = tuple(new if value is old else value for value in node.inputs)
