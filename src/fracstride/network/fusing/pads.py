"""Pads before a convolution and crops behind a transposed one become part of its geometry."""

from __future__ import annotations

from dataclasses import replace

from fracstride.network.graph import Graph, Node
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.conv_transpose1d import ConvTranspose1d
from fracstride.network.operations.crop import Crop
from fracstride.network.operations.pad import Pad

__all__ = ["fold_crops", "fold_pads"]


def fold_pads(graph: Graph) -> Graph:
    """Fold each pad into the convolutions that read it."""
    writers = graph.writers()
    for node in graph.nodes:
        pad = writers.get(node.inputs[0]) if node.inputs else None
        if pad is None or not isinstance(pad.operation, Pad):
            continue
        if isinstance(node.operation, Conv1d):
            folded = _padded_conv1d(node.operation, pad)
        else:
            continue
        if folded is not None:
            node.operation, node.inputs = folded, (pad.inputs[0], *node.inputs[1:])
    return graph.without_unused()


def _padded_conv1d(conv: Conv1d, node: Node) -> Conv1d | None:
    pad, g = node.operation, conv.layer.geometry
    plain = g.padding_left == g.padding_right == 0
    if not isinstance(pad, Pad) or pad.number != 0 or conv.padded is not None:
        return None
    if not plain and not (g.padding_mode == pad.mode == "zeros" and pad.extent is None):
        return None
    padding = (g.padding_left + pad.left, g.padding_right + pad.right)
    new = conv.with_layer(padding=padding, padding_mode=pad.mode)
    assert isinstance(new, Conv1d)
    return new if pad.extent is None else replace(new, padded=node.output.extent)


def fold_crops(graph: Graph) -> Graph:
    """Fold each crop into the transposed convolution before it, if nobody else reads that one.

    A replicate pad before it goes along: with the crop at least as large as what frames beyond the
    pad would reach, the pad is the layer's own extension.
    """
    readers, writers = graph.readers(), graph.writers()
    for crop in graph.nodes:
        if not isinstance(crop.operation, Crop):
            continue
        node = writers.get(crop.inputs[0])
        if node is None or not isinstance(node.operation, ConvTranspose1d):
            continue
        if (
            crop.operation.extent is not None
            or readers[node.output] != [crop]
            or len(node.inputs) > 1
        ):
            continue
        pad = writers.get(node.inputs[0])
        source = pad.operation if pad is not None and isinstance(pad.operation, Pad) else None
        folded = _cropped(node.operation, crop.operation, source)
        if folded is None:
            continue
        crop.operation, padded = folded
        crop.inputs = pad.inputs if padded and pad is not None else node.inputs
        crop.path = node.path
    return graph.without_unused()


def _cropped(
    conv: ConvTranspose1d, crop: Crop, pad: Pad | None
) -> tuple[ConvTranspose1d, bool] | None:
    """The layer with the crop, and whether the pad is in it too."""
    g = conv.layer.geometry
    left, right = g.padding_left + crop.left, g.padding_right + crop.right
    if pad is not None and pad.number == 0 and pad.extent is None:
        plain = g.padding_mode == "zeros"
        # In samples of the input without the pad. The extension reaches as far as the kernel does.
        new_left = left - pad.left * g.stride
        new_right = right - pad.right * g.stride
        reach = g.dilation * (g.kernel_size - 1)
        enough_left = new_left >= 0 and (reach - new_left) // g.stride <= pad.left
        after = reach - new_right + g.output_padding
        enough_right = new_right >= 0 and after // g.stride <= pad.right
        if plain and enough_left and enough_right:
            changes = {"padding": (new_left, new_right), "padding_mode": pad.mode}
            return conv.with_layer(**changes), True  # type: ignore[return-value]
    return conv.with_layer(padding=(left, right)), False  # type: ignore[return-value]
