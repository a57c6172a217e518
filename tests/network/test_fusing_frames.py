"""Linear layers go into the frames that they make or read, and into nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from networks import inputs_of, outputs_of

import fracstride as fs
from fracstride.network import Graph, Network, constant
from fracstride.network.operations.arithmetic import Multiply
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.conv_transpose1d import ConvTranspose1d
from fracstride.network.operations.leaky_relu import LeakyReLU

Rng = np.random.Generator


def ones(taps: int, signals: int) -> Any:
    return np.tile(np.eye(taps, dtype=np.float32)[:, None], (signals, 1, 1))


def linear(rng: Rng, given: int, results: int, *, bias: bool = False, **options: Any) -> Conv1d:
    weight = rng.normal(size=(results, given, 1)).astype(np.float32)
    added = rng.normal(size=results).astype(np.float32) if bias else None
    return Conv1d(fs.Conv1d.from_weights(weight, added, **options))


def fold(taps: int, signals: int, stride: int, **options: Any) -> ConvTranspose1d:
    return ConvTranspose1d(
        fs.ConvTranspose1d.from_weights(
            ones(taps, signals), None, stride, groups=signals, **options
        )
    )


def unfold(taps: int, signals: int, stride: int, **options: Any) -> Conv1d:
    return Conv1d(
        fs.Conv1d.from_weights(ones(taps, signals), None, stride, groups=signals, **options)
    )


def graph_of(channels: int, *operations: Any) -> Graph:
    graph = Graph()
    x = graph.add_input("x", channels)
    for each in operations:
        operation, *constants = each if isinstance(each, tuple) else (each,)
        x = graph.add(operation, x, *constants)
    graph.outputs.append(x)
    return graph


def names(graph: Graph) -> list[str]:
    """Of what runs, which gives what it gives apart, but for rounding."""
    network, apart = Network(graph), Network(graph, fused=False)
    for clock in (network.least, network.least + 1, network.least + 9):
        inputs = inputs_of(graph, clock, 2)
        pairs = zip(outputs_of(network, inputs), outputs_of(apart, inputs), strict=True)
        for found, expected in pairs:
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    return [node.operation.name for node in network.fused.nodes]


@pytest.mark.parametrize("seed", range(8))
def test_frames_that_are_made(seed: int) -> None:
    rng = np.random.default_rng(seed)
    taps, signals = int(rng.integers(1, 7)), int(rng.integers(1, 4))
    options = {"padding": int(rng.integers(0, 2)), "dilation": int(rng.integers(1, 3))}
    given = int(rng.integers(1, 9))
    window = constant(rng.uniform(0.5, 1.5, taps * signals).astype(np.float32))
    operations = [linear(rng, given, taps * signals), (Multiply(), window)]
    graph = graph_of(given, *operations, fold(taps, signals, int(rng.integers(1, 5)), **options))
    assert names(graph) == ["ConvTranspose1d"]


@pytest.mark.parametrize("seed", range(8))
def test_frames_that_are_read(seed: int) -> None:
    rng = np.random.default_rng(seed)
    taps, signals = int(rng.integers(1, 7)), int(rng.integers(1, 4))
    options = {"padding": int(rng.integers(0, 3)), "dilation": int(rng.integers(1, 3))}
    options["padding_mode"] = str(rng.choice(["zeros", "reflect", "replicate"]))
    window = constant(rng.uniform(0.5, 1.5, taps * signals).astype(np.float32))
    frames = unfold(taps, signals, int(rng.integers(1, 5)), **options)
    last = linear(rng, taps * signals, int(rng.integers(1, 9)), bias=seed % 2 == 0)
    assert names(graph_of(signals, frames, last)) == ["Conv1d"]
    # A window would be folded into the frames, which are then none any more.
    assert names(graph_of(signals, frames, (Multiply(), window), last))[-1] == "Conv1d"


def test_what_stays_apart() -> None:
    rng = np.random.default_rng(0)
    frames, channels = fold(4, 2, 2), ["Conv1d", "ConvTranspose1d"]
    assert names(graph_of(3, linear(rng, 3, 8), frames)) == ["ConvTranspose1d"]
    for before in (
        linear(rng, 3, 8, bias=True),
        linear(rng, 3, 8, padding=1),
        linear(rng, 3, 8, stride=2),
    ):
        assert names(graph_of(3, before, frames)) == channels
    grouped = Conv1d(fs.Conv1d(4, 8, 1, groups=2, bias=False, rng=0))
    assert names(graph_of(4, grouped, frames)) == channels
    assert names(graph_of(3, linear(rng, 3, 8), LeakyReLU(0.1), frames)) == channels
    learnt = ConvTranspose1d(fs.ConvTranspose1d(8, 2, 4, 2, groups=2, bias=False, rng=0))
    assert names(graph_of(3, linear(rng, 3, 8), learnt)) == channels
    biased = fs.ConvTranspose1d.from_weights(ones(4, 2), np.ones(2, np.float32), 2, groups=2)
    assert names(graph_of(3, linear(rng, 3, 8), ConvTranspose1d(biased))) == channels
    # Another one reads what the linear layer gives.
    graph = graph_of(3, linear(rng, 3, 8), frames)
    graph.outputs.append(graph.nodes[0].output)
    assert names(graph) == channels
