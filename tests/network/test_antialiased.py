"""Up, an elementwise function and down again: one operation with the bits of three."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fracstride as fs
from fracstride.network import Graph, Network
from fracstride.network.antialiased import Antialiased
from fracstride.network.operations.arithmetic import Add, Multiply
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.conv_transpose1d import ConvTranspose1d
from fracstride.network.operations.crop import Crop
from fracstride.network.operations.functions import Sin, Square
from fracstride.network.operations.pad import Pad
from fracstride.network.value import Value, constant


def snake(graph: Graph, x: Value, rng: Any) -> Value:
    alpha = constant(rng.uniform(0.5, 2, x.channels).astype("f4"))
    bent = graph.add(Square(), graph.add(Sin(), graph.add(Multiply(), x, alpha)))
    return graph.add(Add(), x, graph.add(Multiply(), bent, alpha))


def depthwise(kind: Any, channels: int, k: int, stride: int, rng: Any, **more: Any) -> Any:
    weight = rng.normal(0, 0.5, (channels, 1, k)).astype("f4")
    return kind.from_weights(weight, None, stride, groups=channels, **more)


def bigvgan(seed: int) -> Graph:
    """As BigVGAN writes it: pad, up, a factor, crop, snake, pad, down."""
    rng = np.random.default_rng(seed)
    channels, stride = int(rng.integers(1, 20)), int(rng.integers(1, 4))
    k = stride * int(rng.integers(2, 7))
    graph = Graph()
    x = graph.add_input("x", channels)
    pad = k // stride - 1
    left = pad * stride + (k - stride) // 2
    right = pad * stride + (k - stride + 1) // 2
    y = graph.add(Pad(pad, pad, "replicate"), x)
    y = graph.add(ConvTranspose1d(depthwise(fs.ConvTranspose1d, channels, k, stride, rng)), y)
    y = graph.add(Crop(left, right), graph.add(Multiply(), y, constant(float(stride))))
    y = snake(graph, y, rng)
    y = graph.add(Pad(k // 2 - 1, k // 2, "replicate"), y)
    y = graph.add(Conv1d(depthwise(fs.Conv1d, channels, k, stride, rng)), y)
    graph.outputs.append(y)
    return graph


@pytest.mark.parametrize("dtype", ["f4", "f8", "bfloat16"])
@pytest.mark.parametrize("seed", range(8))
def test_one_operation_with_the_bits_of_three(seed: int, dtype: str, isa: str) -> None:
    graph = bigvgan(seed)
    network = Network(graph).astype(dtype)
    (node,) = network.fused.nodes
    antialiased = node.operation
    assert isinstance(antialiased, Antialiased)
    rng = np.random.default_rng(seed)
    for length in (1, 2, 3, 17, 100, 1001):
        x = rng.normal(0, 1, (2, graph.inputs[0].channels, length)).astype(network.dtype)
        fused = np.asarray(network(x))
        middle = np.asarray(antialiased.up.layer(x))
        antialiased.chain.bind([middle], middle)()
        plain = np.asarray(antialiased.down.layer(middle))
        assert fused.tobytes() == plain.tobytes()
        close = np.asarray(Network(graph, fused=False)(x.astype("f4")))
        scale = np.abs(close).max()
        most = 0.1 if dtype == "bfloat16" else 1e-5
        assert np.abs(fused.astype("f8") - close).max() <= most * scale


def test_a_signal_that_others_read_too_is_kept() -> None:
    graph = bigvgan(0)
    graph.outputs.append(graph.nodes[3].output)  # behind the crop
    names = [type(node.operation) for node in Network(graph).fused.nodes]
    assert Antialiased not in names


def test_layers_that_sum_over_channels_are_left() -> None:
    graph, rng = Graph(), np.random.default_rng(0)
    x = graph.add_input("x", 4)
    up = fs.ConvTranspose1d(4, 4, 4, 2, 1, rng=0)
    y = snake(graph, graph.add(ConvTranspose1d(up), x), rng)
    graph.outputs.append(graph.add(Conv1d(depthwise(fs.Conv1d, 4, 4, 2, rng)), y))
    assert len(Network(graph).fused.nodes) == 3
