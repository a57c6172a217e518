"""Fusing: which operations become one, and which must stay apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from networks import inputs_of, outputs_of, same_bits

import fracstride as fs
from fracstride.network import Extent, Graph, Network, Value, constant
from fracstride.network.convolution import ConvolutionOperation
from fracstride.network.elementwise import Fused
from fracstride.network.operations.arithmetic import Add, Divide, Multiply, Subtract
from fracstride.network.operations.channels import Channels
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.conv_transpose1d import ConvTranspose1d
from fracstride.network.operations.crop import Crop
from fracstride.network.operations.functions import ReLU, Sigmoid, Sin, Square, Tanh
from fracstride.network.operations.leaky_relu import LeakyReLU
from fracstride.network.operations.pad import Pad


def conv(in_channels: int = 4, out_channels: int = 4, kernel: int = 3, **options: Any) -> Conv1d:
    options = {"padding": kernel // 2, **options}
    return Conv1d(fs.Conv1d(in_channels, out_channels, kernel, rng=0, **options))


def transposed(kernel: int = 4, stride: int = 2, **options: Any) -> ConvTranspose1d:
    return ConvTranspose1d(fs.ConvTranspose1d(4, 4, kernel, stride, rng=0, **options))


def graph_of(*operations: Any, channels: int = 4) -> Graph:
    """Operations in a row; one of a tuple has constants too."""
    graph = Graph()
    x = graph.add_input("x", channels)
    for each in operations:
        operation, *constants = each if isinstance(each, tuple) else (each,)
        x = graph.add(operation, x, *constants)
    graph.outputs.append(x)
    return graph


def fused(graph: Graph) -> Network:
    """The network, which gives the same as without fusing: up to rounding of folded weights."""
    network, apart = Network(graph), Network(graph, fused=False)
    assert network.least == apart.least
    for clock in (network.least, network.least + 1, network.least + 9):
        inputs = inputs_of(graph, clock, 2)
        pairs = zip(outputs_of(network, inputs), outputs_of(apart, inputs), strict=True)
        for found, expected in pairs:
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    return network


def names(graph: Graph) -> list[str]:
    return [node.operation.name for node in fused(graph).fused.nodes]


def convolutions(network: Network) -> list[ConvolutionOperation]:
    operations = [node.operation for node in network.fused.nodes]
    return [o for o in operations if isinstance(o, ConvolutionOperation)]


# --- pads and crops -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_a_pad_goes_into_a_convolution(mode: str) -> None:
    network = fused(graph_of(Pad(3, 1, mode), conv(padding=0)))
    (operation,) = convolutions(network)
    assert len(network.fused.nodes) == 1
    g = operation.layer.geometry
    assert (g.padding_left, g.padding_right, g.padding_mode) == (3, 1, mode)


def test_a_pad_with_zeros_goes_into_a_convolution_that_pads_with_zeros() -> None:
    (operation,) = convolutions(fused(graph_of(Pad(2, 0), conv())))
    assert (operation.layer.geometry.padding_left, operation.layer.geometry.padding_right) == (3, 1)


def test_a_pad_to_fit_goes_into_a_convolution() -> None:
    extent = Extent.affine(1).then(lambda length: (length + 1) // 2 * 2 + 3, 2)
    graph = graph_of(Pad(3, mode="reflect", extent=extent), conv(stride=2, padding=0))
    assert names(graph) == ["Conv1d"]


@pytest.mark.parametrize(
    ("pad", "operation"),
    [
        (Pad(1, 1, number=2.0), conv(padding=0)),
        (Pad(1, 1, "reflect"), conv()),
        (Pad(1, 1), conv(padding_mode="reflect")),
        (Pad(1, 1, "replicate"), conv(padding_mode="reflect")),
        (Pad(1, 1), transposed()),
    ],
    ids=str,
)
def test_a_pad_that_stays(pad: Pad, operation: Any) -> None:
    assert names(graph_of(pad, operation)) == ["Pad", operation.name]


def test_a_pad_that_others_read_stays_for_them() -> None:
    graph = Graph()
    padded = graph.add(Pad(1, 1), graph.add_input("x", 4))
    graph.outputs += [graph.add(conv(padding=0), padded), padded]
    assert names(graph) == ["Pad", "Conv1d"]


def test_a_crop_goes_into_a_transposed_convolution() -> None:
    (operation,) = convolutions(network := fused(graph_of(transposed(), Crop(1, 3))))
    assert len(network.fused.nodes) == 1
    assert (operation.layer.geometry.padding_left, operation.layer.geometry.padding_right) == (1, 3)


def test_a_replicate_pad_goes_along_with_a_crop() -> None:
    # As in BigVGAN: 12 taps, upsampling by 2.
    (operation,) = convolutions(
        network := fused(graph_of(Pad(5, 5, "replicate"), transposed(12), Crop(15, 15)))
    )
    assert len(network.fused.nodes) == 1
    g = operation.layer.geometry
    assert (g.padding_left, g.padding_right, g.padding_mode) == (5, 5, "replicate")


@pytest.mark.parametrize(
    ("pad", "crop"),
    [
        (Pad(5, 5, "replicate"), Crop(9, 15)),  # a part of what the pad adds is left
        (Pad(1, 1, "replicate"), Crop(4, 4)),  # the layer's own pad would reach further
        (Pad(5, 5, number=1.0), Crop(15, 15)),
    ],
    ids=str,
)
def test_a_pad_that_does_not_go_along(pad: Pad, crop: Crop) -> None:
    assert names(graph_of(pad, transposed(12), crop)) == ["Pad", "ConvTranspose1d"]


def test_a_crop_of_what_others_read_stays() -> None:
    graph = Graph()
    whole = graph.add(transposed(), graph.add_input("x", 4))
    graph.outputs += [graph.add(Crop(1, 1), whole), whole]
    assert names(graph) == ["ConvTranspose1d", "Crop"]


def test_a_crop_to_fit_stays() -> None:
    extent = Extent.affine(2).then(lambda length: length // 3 * 3, 3)
    assert names(graph_of(transposed(), Crop(1, extent=extent))) == ["ConvTranspose1d", "Crop"]


# --- factors ------------------------------------------------------------------------------------

MANY = constant([0.5, -2.0, 3.0, 0.25])


@pytest.mark.parametrize("layer", [conv(), conv(groups=2), transposed(), transposed(groups=4)])
@pytest.mark.parametrize(
    "change",
    [
        (Multiply(), constant(0.3)),
        (Multiply(), MANY),
        (Divide(), MANY),
        (Add(), MANY),
        (Subtract(), constant(2.0)),
    ],
    ids=str,
)
def test_what_scales_or_shifts_a_result_is_folded(layer: Any, change: Any) -> None:
    assert names(graph_of(layer, change, change)) == [layer.name]


@pytest.mark.parametrize("layer", [conv(), conv(groups=2), transposed(), transposed(groups=4)])
def test_what_scales_an_input_is_folded(layer: Any) -> None:
    assert names(graph_of((Multiply(), MANY), layer)) == [layer.name]
    assert names(graph_of((Divide(), constant(3.0)), LeakyReLU(0.1), layer)) in (
        [layer.name],
        ["LeakyReLU", layer.name],
    )


def test_a_constant_may_be_the_first_operand() -> None:
    graph = Graph()
    scaled = graph.add(Multiply(), MANY, graph.add(conv(), graph.add_input("x", 4)))
    graph.outputs.append(graph.add(Add(), constant(1.0), scaled))
    assert names(graph) == ["Conv1d"]


@pytest.mark.parametrize(
    "operations",
    [
        [(Add(), MANY), conv()],  # shifts of an input change at the ends
        [(Multiply(), MANY), ReLU(), conv()],
        [(Multiply(), constant(2.0)), Tanh(), conv()],
        [conv(4, 1), (Multiply(), MANY)],  # one channel becomes four
    ],
    ids=str,
)
def test_factors_that_stay(operations: list[Any]) -> None:
    found = names(graph_of(*operations))
    assert any("Multiply" in name or "Add" in name for name in found)


def test_a_constant_less_a_result_stays() -> None:
    graph = Graph()
    y = graph.add(conv(), graph.add_input("x", 4))
    graph.outputs.append(graph.add(Subtract(), MANY, y))
    assert names(graph) == ["Conv1d", "Subtract"]
    graph = Graph()
    y = graph.add(conv(), graph.add_input("x", 4))
    graph.outputs.append(graph.add(Divide(), constant(2.0), y))
    network = Network(graph)
    assert [node.operation.name for node in network.fused.nodes] == ["Conv1d", "Divide"]


def readers_of(scaled: Any) -> list[str]:
    """The names of a graph in which something else than convolutions reads a scaled signal."""
    graph = Graph()
    x = graph.add(Multiply(), graph.add_input("x", 4), MANY)
    graph.outputs += [graph.add(conv(), x), *scaled(graph, x)]
    return names(graph)


def test_a_factor_that_others_read_stays() -> None:
    assert "Multiply" in readers_of(lambda graph, x: [x])
    assert "Multiply" in " ".join(readers_of(lambda graph, x: [graph.add(Tanh(), x)]))
    assert "Multiply" not in readers_of(lambda graph, x: [graph.add(conv(kernel=1), x)])


def test_a_scaled_result_that_others_read_as_it_is_stays() -> None:
    graph = Graph()
    y = graph.add(conv(), graph.add_input("x", 4))
    graph.outputs += [graph.add(Multiply(), y, MANY), y]
    assert names(graph) == ["Conv1d", "Multiply"]


def test_the_layers_of_the_model_stay_as_they_are() -> None:
    graph = graph_of(conv(), (Multiply(), MANY))
    before = graph.nodes[0].operation
    fused(graph)
    assert graph.nodes[0].operation is before
    assert [node.operation.name for node in graph.nodes] == ["Conv1d", "Multiply"]


# --- activations and residuals ------------------------------------------------------------------


@pytest.mark.parametrize("activation", [LeakyReLU(0.1), LeakyReLU(0.0)], ids=str)
@pytest.mark.parametrize("layer", [conv(), transposed()])
def test_an_activation_goes_into_a_convolution(activation: Any, layer: Any) -> None:
    (operation,) = convolutions(network := fused(graph_of(activation, layer)))
    assert len(network.fused.nodes) == 1
    assert operation.negative_slope == getattr(activation, "negative_slope", 0.0)


@pytest.mark.parametrize(
    "operations",
    [
        [LeakyReLU(1.5), conv()],
        [LeakyReLU(-0.5), conv()],
        [LeakyReLU(0.1), conv(groups=4)],  # its kernel reads the signal where it lies
        [LeakyReLU(0.1), Pad(1, 1, number=1.0), conv(padding=0)],
    ],
    ids=str,
)
def test_activations_that_stay(operations: list[Any]) -> None:
    assert "LeakyReLU" in names(graph_of(*operations))


def test_an_activation_goes_into_each_convolution_and_stays_for_others() -> None:
    graph = Graph()
    x = graph.add_input("x", 4)
    bent = graph.add(LeakyReLU(0.1), x)
    graph.outputs += [graph.add(conv(), bent), graph.add(conv(kernel=1), bent)]
    assert names(graph) == ["Conv1d", "Conv1d"]
    graph.outputs.append(bent)
    network = fused(graph)
    assert [node.operation.name for node in network.fused.nodes].count("LeakyReLU") == 1
    assert [operation.negative_slope for operation in convolutions(network)] == [0.1, 0.1]


def residual(*, first: bool, layer: Any = None) -> Graph:
    graph = Graph()
    x = graph.add_input("x", 4)
    y = graph.add(layer or conv(), graph.add(LeakyReLU(0.1), x))
    graph.outputs.append(graph.add(Add(), *((y, x) if first else (x, y))))
    return graph


@pytest.mark.parametrize("first", [True, False])
def test_a_residual_goes_into_a_convolution(first: bool) -> None:
    graph = residual(first=first)
    network, apart = Network(graph), Network(graph, fused=False)
    assert [node.operation.name for node in network.fused.nodes] == ["Conv1d"]
    inputs = inputs_of(graph, 30, 2)
    same_bits(outputs_of(network, inputs), outputs_of(apart, inputs))


def test_residuals_that_stay() -> None:
    depthwise = ConvTranspose1d(fs.ConvTranspose1d(4, 4, 3, 1, 1, groups=4, rng=0))
    assert names(residual(first=True, layer=depthwise)) == ["LeakyReLU", "ConvTranspose1d", "Add"]
    graph = Graph()
    x = graph.add_input("x", 4)
    y = graph.add(conv(), x)
    graph.outputs += [graph.add(Add(), x, y), y]  # the sum is not all that reads y
    assert names(graph) == ["Conv1d", "Add"]
    graph = Graph()
    y = graph.add(conv(), graph.add_input("x", 4))
    graph.outputs.append(graph.add(Add(), y, y))
    assert names(graph) == ["Conv1d", "Add"]
    graph = Graph()
    y = graph.add(conv(4, 1), x := graph.add_input("x", 4))
    graph.outputs.append(graph.add(Add(), x, y))  # one channel is added to four
    assert names(graph) == ["Conv1d", "Add"]


def test_of_two_convolutions_the_later_one_adds() -> None:
    graph = Graph()
    x = graph.add_input("x", 4)
    first, second = graph.add(conv(), x), graph.add(conv(kernel=1), x)
    graph.outputs.append(graph.add(Add(), first, second))
    network = fused(graph)
    assert [len(node.inputs) for node in network.fused.nodes] == [1, 2]
    assert network.fused.nodes[1].operation.layer.geometry.kernel_size == 1  # type: ignore[attr-defined]


def test_sums_of_sums_go_into_one_convolution_each() -> None:
    graph = Graph()
    x = graph.add_input("x", 4)
    total = graph.add(conv(), x)
    for _ in range(3):
        total = graph.add(Add(), total, graph.add(conv(), x))
    graph.outputs.append(graph.add(Divide(), total, constant(3.0)))
    assert names(graph) == ["Conv1d"] * 4 + ["Divide"]


# --- chains -------------------------------------------------------------------------------------


def snake(graph: Graph, x: Value) -> Value:
    sine = graph.add(Square(), graph.add(Sin(), graph.add(Multiply(), x, MANY)))
    return graph.add(Add(), x, graph.add(Divide(), sine, MANY))


def test_a_chain_becomes_one_program() -> None:
    graph = Graph()
    x = graph.add_input("x", 4)
    graph.outputs.append(snake(graph, x))
    network = fused(graph)
    (node,) = network.fused.nodes
    assert node.operation.name == "Multiply Sin Square Divide Add"
    assert node.inputs == (x,)


def test_a_value_that_others_read_ends_a_chain() -> None:
    graph = Graph()
    x = graph.add(Tanh(), graph.add_input("x", 4))
    graph.outputs += [graph.add(Sigmoid(), x), x]
    assert names(graph) == ["Tanh", "Sigmoid"]


def test_a_value_that_is_read_twice_by_one_operation_does_not() -> None:
    graph = Graph()
    x = graph.add(Tanh(), graph.add_input("x", 4))
    graph.outputs.append(graph.add(Multiply(), x, x))
    assert names(graph) == ["Tanh Multiply"]


def test_another_shape_ends_a_chain() -> None:
    graph = Graph()
    x, whole = graph.add_input("x", 4), graph.add_input("whole", 4, Extent.affine(0, 1))
    scale = graph.add(Sigmoid(), whole)
    graph.outputs.append(graph.add(Multiply(), graph.add(Tanh(), x), scale))
    assert names(graph) == ["Sigmoid", "Tanh Multiply"]


def test_programs_have_at_most_as_many_inputs_and_registers_as_the_kernel() -> None:
    graph = Graph()
    values = [graph.add_input(f"x{i}", 2) for i in range(40)]
    while len(values) > 1:  # a tree: many values wait at once
        values = [
            graph.add(Add(), graph.add(Tanh(), a), graph.add(Sigmoid(), b))
            for a, b in zip(values[::2], values[1::2], strict=False)
        ] + values[len(values) // 2 * 2 :]
    graph.outputs.append(values[0])
    network = fused(graph)
    for node in network.fused.nodes:
        assert isinstance(node.operation, Fused)
        assert len(node.inputs) <= 16
        assert node.operation.program.fits


def test_long_chains() -> None:
    graph = Graph()
    x = graph.add_input("x", 2)
    for _ in range(100):
        x = graph.add(Add(), graph.add(Tanh(), x), constant([0.5, -0.5]))
    graph.outputs.append(x)
    fused(graph)


def test_nodes_that_nothing_reads_are_left_out() -> None:
    graph = Graph()
    x = graph.add_input("x", 4)
    graph.add(conv(), x)
    graph.outputs.append(graph.add(Channels((0, 1)), x))
    assert names(graph) == ["Channels"]


def test_a_relu_of_minus_infinity_is_zero() -> None:
    graph = graph_of(ReLU(), conv())
    x = np.zeros((1, graph.inputs[0].channels, 20), np.float32)
    x[0, 0, 10] = -np.inf
    for fused in (True, False):
        assert np.isfinite(Network(graph, fused=fused)(x)).all()
