"""The graph: what fits is added, what does not is refused with a sentence, and who reads what."""

from __future__ import annotations

import numpy as np
import pytest

import fracstride as fs
from fracstride.network import Extent, Graph, Network, Shape, constant
from fracstride.network.layout import BATCH, TIME, split
from fracstride.network.layouts import Layouts
from fracstride.network.operations.arithmetic import Add, Multiply
from fracstride.network.operations.channels import Channels
from fracstride.network.operations.concatenate import Concatenate
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.crop import Crop
from fracstride.network.operations.functions import Tanh
from fracstride.network.operations.lstm import LSTM
from fracstride.network.operations.pad import Pad
from fracstride.network.value import foreign


def test_shapes() -> None:
    graph = Graph()
    x = graph.add_input("x", 4, Extent.affine(2))
    assert graph.inputs == [x]
    strided = Conv1d(fs.Conv1d(4, 6, 3, stride=2, padding=1, rng=0))
    assert graph.add(strided, x).shape == Shape(6, Extent.affine(1))
    assert graph.add(Pad(1, 2), x).shape == Shape(4, Extent.affine(2, 3))
    assert graph.add(Crop(1, 2), x).shape == Shape(4, Extent.affine(2, -3))
    assert graph.add(Channels((3, 1)), x).shape == Shape(2, Extent.affine(2))
    whole = graph.add_input("whole", 4, Extent.affine(0, 1))
    assert graph.add(Concatenate(), x, x, whole).shape == Shape(12, Extent.affine(2))
    assert graph.add(Add(), whole, x).shape == Shape(4, Extent.affine(2))
    assert graph.add(Multiply(), graph.add(Channels((0,)), x), whole).shape == x.shape
    assert graph.add(Multiply(), whole, constant(2.0)).shape == whole.shape
    assert [node.output.is_signal for node in graph.nodes] == [True] * len(graph.nodes)


@pytest.mark.parametrize(
    ("operation", "channels", "message"),
    [
        (Conv1d(fs.Conv1d(3, 2, 1, rng=0)), 4, "decoder.0: Conv1d takes 3 channels, got 4"),
        (Channels((0, 4)), 4, "no such channels in a signal of 4"),
        (Channels((-1, 0)), 4, "no such channels in a signal of 4"),
        (Channels(()), 4, "no such channels in a signal of 4"),
    ],
    ids=str,
)
def test_what_does_not_fit(operation: object, channels: int, message: str) -> None:
    graph = Graph()
    x = graph.add_input("x", channels)
    with pytest.raises(ValueError, match=message):
        graph.add(operation, x, path="decoder.0")  # type: ignore[arg-type]
    assert graph.nodes == []


def test_signals_that_do_not_fit_to_each_other() -> None:
    graph = Graph()
    x, wide = graph.add_input("x", 4), graph.add_input("wide", 5)
    fast = graph.add_input("fast", 4, Extent.affine(2))
    with pytest.raises(ValueError, match="Add of signals with 4 and 5 channels"):
        graph.add(Add(), x, wide)
    with pytest.raises(ValueError, match=r"Add of signals with the lengths T and 2 T$"):
        graph.add(Add(), x, fast)
    with pytest.raises(ValueError, match="Concatenate of signals with the lengths"):
        graph.add(Concatenate(), x, fast)
    with pytest.raises(ValueError, match="Add of signals with 4 and 3 channels"):
        graph.add(Add(), x, constant([1.0, 2.0, 3.0]))


def test_readers_and_writers() -> None:
    graph = Graph()
    x = graph.add_input("x", 4)
    y = graph.add(Tanh(), x)
    z = graph.add(Add(), x, x)
    graph.outputs += [y, z]
    first, second = graph.nodes
    assert graph.readers() == {x: [first, second, second], y: [None], z: [None]}
    assert graph.writers() == {y: first, z: second}
    assert list(graph.values()) == [x, y, z]


def test_without_unused() -> None:
    graph = Graph()
    x = graph.add_input("x", 4)
    used = graph.add(Tanh(), x)
    graph.add(Tanh(), graph.add(Tanh(), used))
    graph.outputs.append(graph.add(Tanh(), used))
    smaller = graph.without_unused()
    assert smaller.nodes == [graph.nodes[0], graph.nodes[3]]
    assert smaller.inputs == [x]
    assert len(graph.nodes) == 4


def test_constants() -> None:
    one, several, repeated = constant(2.0), constant([1.0, 2.0]), constant(3.0, channels=3)
    assert (one.channels, several.channels, repeated.channels) == (1, 2, 3)
    np.testing.assert_array_equal(repeated.constant, [3, 3, 3])
    assert not one.is_signal
    assert one.rate == 0
    with pytest.raises(ValueError, match="read-only"):
        one.constant[0] = 1  # type: ignore[index]


def test_foreign_values_are_no_signals() -> None:
    value = foreign("codes")
    assert not value.is_signal
    assert value.shape is None


def test_weights_of_another_dtype_are_refused() -> None:
    graph = Graph()
    layer = fs.Conv1d(2, 2, 3, dtype=np.float64, rng=0)
    graph.outputs.append(graph.add(Conv1d(layer), graph.add_input("x", 2), path="conv"))
    with pytest.raises(TypeError, match="conv has weights in float64, and the network is one in f"):
        Network(graph)
    assert Network(graph, np.float64)(np.ones((2, 5))).shape == (2, 3)


def test_lstm_weights_that_do_not_fit() -> None:
    rng = np.random.default_rng(0)
    weights = {"input_weight": (8, 3), "recurrent_weight": (8, 2), "bias": (8,)}
    for name, wrong in (("input_weight", (7, 3)), ("recurrent_weight", (8, 3)), ("bias", (9,))):
        shapes = {**weights, name: wrong}
        lstm = LSTM(**{key: rng.normal(size=s).astype("f4") for key, s in shapes.items()})
        with pytest.raises(ValueError, match="must have the shape"):
            Graph().add(lstm, Graph().add_input("x", 3))


def test_pads_and_crops_that_cannot_be() -> None:
    graph = Graph()
    x = graph.add_input("x", 1)
    for operation in (Pad(-1, 0), Pad(0, -1), Pad(1, 1, "mirror"), Crop(-1, 0), Crop(0, -1)):
        with pytest.raises(ValueError, match="no such"):
            graph.add(operation, x)


def test_a_reflected_pad_needs_more_than_it_adds() -> None:
    graph = Graph()
    graph.outputs.append(graph.add(Pad(3, 5, "reflect"), graph.add_input("x", 1)))
    net = Network(graph)
    assert net.least == 6
    assert net(np.arange(6, dtype="f4")[None]).tolist() == [[3, 2, 1, *range(6), 4, 3, 2, 1, 0]]
    with pytest.raises(ValueError, match="at least 6"):
        net(np.zeros((1, 5), "f4"))


def test_inputs_of_layouts() -> None:
    graph = Graph()
    values = [graph.add_input(name, 6) for name in ("x", "y")]
    graph.outputs.append(graph.add(Add(), *values))
    axes = split(TIME, BATCH, 2, 3)
    net = Network(graph, layouts=Layouts((axes, axes), (axes,)))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 7, 4, 2, 3)).astype("f4")
    assert np.array_equal(net(x, y), x + y)
    with pytest.raises(
        ValueError, match=r"x must have the shape \(L, B, 2, 3\), got \(7, 4, 3, 2\)"
    ):
        net(x.swapaxes(2, 3), y)
    with pytest.raises(ValueError, match="y must have the batch of x, 4, got 3"):
        net(x, y[:, :3])
    with pytest.raises(ValueError, match="the length of y must be 7, got 6"):
        net(x, y[:6])
