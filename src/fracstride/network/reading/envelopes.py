"""Calls that combine a signal with a constant as long as it, which repeats itself: envelopes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fracstride.network.elementwise import Elementwise
from fracstride.network.graph import Graph
from fracstride.network.layout import TIME, View
from fracstride.network.operations.arithmetic import Divide, Multiply
from fracstride.network.operations.channels import Channels
from fracstride.network.operations.conv_transpose1d import ConvTranspose1d
from fracstride.network.operations.crop import Crop
from fracstride.network.operations.envelope import DividedByEnvelope, TimesEnvelope
from fracstride.network.reading.lowering import Lowering
from fracstride.network.reading.reader import Unreadable
from fracstride.network.recording import Call, Repeated, Varying
from fracstride.network.value import Value

__all__ = ["give"]


def give(lowering: Lowering, call: Call, operation: Elementwise, arguments: Sequence[Any]) -> None:
    """A signal times, or divided by, such a constant is the result."""
    first, second = (*arguments, None)[:2]
    if isinstance(operation, Multiply) and isinstance(first, Repeated):
        first, second = second, first
    if not isinstance(second, Repeated) or not isinstance(operation, (Divide, Multiply)):
        raise Unreadable(
            "a constant changes with the length, its values are not one number, and it is no "
            "factor or divisor of a signal"
        )
    view = lowering.view(first)
    (place,) = (i for i, size in enumerate(second.shape) if isinstance(size, Varying))
    place -= len(second.shape)
    if len(second.shape) > len(view.axes) or view.axes[place] is not TIME:
        raise Unreadable("a constant changes with the length along another axis than time")
    kind = DividedByEnvelope if isinstance(operation, Divide) else TimesEnvelope
    known = _known_ends(lowering.graph, view.value)
    ahead = max(0, len(second.numbers.end) - known)
    value = lowering.graph.add(kind.of(second.numbers, ahead), view.value, path=call.path)
    lowering.tensors[call.results[0]] = View(value, view.axes)


def _known_ends(graph: Graph, value: Value) -> int:
    """How many last positions exist only once it is known that no frame follows."""
    writers, cropped = graph.writers(), 0
    while value in writers:
        operation = writers[value].operation
        if isinstance(operation, ConvTranspose1d):
            g = operation.layer.geometry
            more: int = g.span - g.stride - g.padding_right + g.output_padding
            return max(0, more - cropped)
        signals = [each for each in writers[value].inputs if each.is_signal]
        if isinstance(operation, Crop) and operation.extent is None:
            cropped += operation.right
        elif not isinstance(operation, (Channels, Elementwise)) or len(signals) != 1:
            return 0
        (value,) = signals
    return 0
