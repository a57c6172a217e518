"""Up, an elementwise function and down again become one operation."""

from __future__ import annotations

from fracstride.network.antialiased import Antialiased
from fracstride.network.convolution import ConvolutionOperation
from fracstride.network.elementwise import Fused
from fracstride.network.graph import Graph, Node
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.conv_transpose1d import ConvTranspose1d
from fracstride.network.value import Value

__all__ = ["fuse_antialiasing"]

_LARGEST_STRIDE = 8  # of the compiled module's


def fuse_antialiasing(graph: Graph) -> Graph:
    """Join each depthwise transposed convolution, chain and depthwise Conv1d that stand alone."""
    readers, writers = graph.readers(), graph.writers()
    for node in graph.nodes:
        chain = _before(node.inputs[0], readers, writers) if node.inputs else None
        up = _before(chain.inputs[0], readers, writers) if chain is not None else None
        if chain is None or up is None:
            continue
        if (
            isinstance(node.operation, Conv1d)
            and isinstance(chain.operation, Fused)
            and len(chain.inputs) == 1
            and chain.output.shape == up.output.shape
            and isinstance(up.operation, ConvTranspose1d)
            and all(_is_plain(each) for each in (node, up))
        ):
            assert up.output.shape is not None
            assert node.output.shape is not None
            node.operation = Antialiased(
                up.operation, chain.operation, node.operation, node.output.shape, up.output.shape
            )
            node.inputs = up.inputs
    return graph.without_unused()


def _before(
    value: Value, readers: dict[Value, list[Node | None]], writers: dict[Value, Node]
) -> Node | None:
    """The node that writes a value that only one node reads."""
    return writers.get(value) if len(readers.get(value, ())) == 1 else None


def _is_plain(node: Node) -> bool:
    """Whether a layer is depthwise and nothing is fused into it."""
    operation = node.operation
    assert isinstance(operation, ConvolutionOperation)
    layer, geometry = operation.layer, operation.layer.geometry
    return (
        len(node.inputs) == 1
        and operation.negative_slope == 1
        and layer.groups == layer.in_channels == layer.out_channels
        and geometry.stride <= _LARGEST_STRIDE
        and geometry.dilation == 1
        and geometry.padding_mode != "circular"
    )
