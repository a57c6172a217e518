"""This library's own operators, which its layers call while a module is recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fracstride.conv1d import Conv1d as Conv1dLayer
from fracstride.layer import ConvTranspose1d as ConvTranspose1dLayer
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.conv_transpose1d import ConvTranspose1d
from fracstride.network.reading import Reader

__all__ = ["OWN"]


def _conv1d(call: Reader) -> None:
    layer = Conv1dLayer.from_weights(*_weights(call), **_sizes(call))
    call.give(call.add(Conv1d(layer), call.signal("input", "BCT")), "BCT")


def _conv_transpose1d(call: Reader) -> None:
    added = int(call.number("output_padding"))
    layer = ConvTranspose1dLayer.from_weights(*_weights(call), output_padding=added, **_sizes(call))
    call.give(call.add(ConvTranspose1d(layer), call.signal("input", "BCT")), "BCT")


def _weights(call: Reader) -> tuple[Any, Any]:
    return call.weight("weight"), call.optional_weight("bias")


def _sizes(call: Reader) -> dict[str, Any]:
    channels = call.weight("weight").shape[0]
    return {
        "stride": int(call.number("stride")),
        "padding": (int(call.number("padding_left")), int(call.number("padding_right"))),
        "dilation": int(call.number("dilation")),
        "groups": channels // int(call.number("group_channels")),
        "padding_mode": call.argument("padding_mode"),
    }


#: How each is read.
OWN: dict[str, Callable[[Reader], None]] = {
    "fracstride.conv1d": _conv1d,
    "fracstride.conv_transpose1d": _conv_transpose1d,
}
