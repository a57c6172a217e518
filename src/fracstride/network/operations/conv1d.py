"""Conv1d."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fracstride.conv1d import Conv1d as Layer
from fracstride.network.convolution import ConvolutionOperation
from fracstride.network.reading import Reader

__all__ = ["Conv1d"]


@dataclass(frozen=True, eq=False)
class Conv1d(ConvolutionOperation):
    """A :class:`fracstride.Conv1d`.

    Args:
        multiple: the input is padded on the right, beyond the layer's own padding, to
            ``multiple*n + rest`` positions; 1: it is not.
        rest: see there.
    """

    multiple: int = 1
    rest: int = 0

    kind = Layer
    torch = ("conv1d",)

    def output_length(self, length: int) -> int:
        return super().output_length(length + (self.rest - length) % self.multiple)

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        weight, bias = call.weight("weight"), call.optional_weight("bias")
        padding: Any = call.argument("padding")
        if not isinstance(padding, str):
            (padding,) = call.integers("padding", 1)
        (stride,), (dilation,) = call.integers("stride", 1), call.integers("dilation", 1)
        layer = Layer.from_weights(
            weight, bias, stride, padding, dilation, int(call.number("groups"))
        )
        call.give(call.add(cls(layer), call.signal("input", "BCT")), "BCT")
